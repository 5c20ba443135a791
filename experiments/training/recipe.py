"""What a training is made of, from data to trainer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from difflut.config import ConfigurationError, plain
from difflut.models import LUTNetwork
from difflut.training import Teacher, Trainer
from difflut.training.area import Cost
from difflut.training.freezing import front_to_back
from difflut.training.refinement import Refinement
from experiments.data import Dataset, dataset
from experiments.shared.arguments import check_seed, check_whole
from experiments.training.teaching import check_first_call, check_pairing


@dataclass(frozen=True)
class Recipe:
    """All that decides which network comes out; fields are arguments of the job `train`."""

    network: Callable[..., LUTNetwork]
    optimizer: Callable[..., Optimizer]
    schedule: Callable[..., LRScheduler] | None
    epochs: int
    batch_size: int
    seed: int
    graph: bool
    loss: Callable[..., Tensor]
    augmentation: Callable[[Tensor, torch.Generator], Tensor] | None
    teacher: Callable[..., Teacher] | None
    refinement: Callable[..., Refinement] | None
    refined_epochs: int
    freezing: tuple[float, float] | None
    cost: Callable[..., Cost] | None
    wiring_epochs: int | None
    redraw_epochs: int | None

    @property
    def gradient_epochs(self) -> int:
        """Epochs of gradient steps, which come before those of the refinement."""
        return self.epochs - self.refined_epochs

    def check(self) -> None:
        """Checks what can be said without the data.

        Raises:
            ConfigurationError: A number is out of range, or arguments do not go together.
        """
        check_seed("train.seed", self.seed)
        check_whole("train.epochs", self.epochs)
        self._check_refinement()
        if self.wiring_epochs is not None:
            check_whole("train.wiring_epochs", self.wiring_epochs, least=0, most=max(self.gradient_epochs - 1, 0))
        if self.redraw_epochs is not None:
            check_whole("train.redraw_epochs", self.redraw_epochs, least=2, most=max(self.gradient_epochs, 2))
        check_pairing(self.loss, self.teacher)

    def begin(self) -> tuple[Dataset, LUTNetwork]:
        """The data, and the network as it starts, on the CPU, its encoder not fitted."""
        torch.manual_seed(self.seed)
        torch.backends.cudnn.deterministic = True  # convolutions of a teacher and of soft selection, on a GPU
        data = dataset(seed=self.seed)
        return data, self.network(input_shape=data.feature_shape, num_classes=data.num_classes, seed=self.seed)

    def trainer(self, model: LUTNetwork, data: Dataset) -> Trainer:
        """What trains the network, without its teacher.

        Raises:
            ValueError: The parts do not fit together.
        """
        gradient_epochs = self.gradient_epochs
        return Trainer(
            model,
            data.x_train,
            data.y_train,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            schedule=self.schedule and partial(self.schedule, epochs=max(gradient_epochs, 1)),
            seed=self.seed,
            graph=self.graph,
            loss=plain(self.loss),
            augmentation=self.augmentation,
            refinement=self.refinement,
            refined_from=gradient_epochs,
            cost=self.cost,
            wiring_epochs=self.wiring_epochs,
            redraw_epochs=self.redraw_epochs,
            freezes=self.freezing and front_to_back(model.layers, gradient_epochs, *self.freezing),
        )

    def check_first_call(self, data: Dataset) -> None:
        """Calls teacher and loss on two rows.

        Raises:
            ValueError: One of them cannot be called so.
        """
        check_first_call(self.loss, self.teacher, data)

    def _check_refinement(self) -> None:
        refined, epochs = f"train.refined_epochs = {self.refined_epochs}", f"train.epochs = {self.epochs}"
        if (self.refinement is None) != (self.refined_epochs == 0):
            raise ConfigurationError(
                f"{refined} and train.refinement go together: "
                "set both, such as 10 and @refinements.coordinate_descent, or neither"
            )
        if not 0 <= self.refined_epochs <= self.epochs:
            raise ConfigurationError(f"{refined} must be from 0 to {epochs}, of which they are part")
