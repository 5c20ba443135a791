"""A small network trained in one piece, and with a checkpoint after each epoch."""

from pathlib import Path

import torch

from difflut.models import LUTNetwork, load_checkpoint, save_checkpoint
from difflut.models.checkpoint import read_checkpoint
from difflut.training import Trainer


def in_one_piece(model: LUTNetwork, x: torch.Tensor, y: torch.Tensor, epochs: int) -> LUTNetwork:
    """Trains a network; gives it in evaluation mode.

    Args:
        model: As it starts.
        x: Inputs, in the form in which it reads them.
        y: Class indices `(rows,)`.
        epochs: One or more.
    """
    trainer = _trainer(model, x, y)
    for _ in range(epochs):
        trainer.run_epoch()
    return model.eval()


def in_pieces(model: LUTNetwork, x: torch.Tensor, y: torch.Tensor, epochs: int, path: Path) -> LUTNetwork:
    """The same, but each epoch goes on from the file that the one before has written at `path`."""
    state = None
    for _ in range(epochs):
        trainer = _trainer(model, x, y)
        if state is not None:
            trainer.load_state_dict(state)
        trainer.run_epoch()
        save_checkpoint(model, path, trainer.state_dict())
        model, state = load_checkpoint(path), read_checkpoint(path)["training"]
    return model


def _trainer(model: LUTNetwork, x: torch.Tensor, y: torch.Tensor) -> Trainer:
    return Trainer(model, x, y, optimizer="adam")
