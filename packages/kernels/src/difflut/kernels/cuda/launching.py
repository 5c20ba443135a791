"""The compiled CUDA kernels, and calling them."""

import ctypes
from functools import cache

import torch
from torch import Tensor

from difflut.kernels import jit
from difflut.kernels.signatures import as_values, declare

FILES = (
    "layout.cu",
    "lookup.cu",
    "lookup_gradient.cu",
    "image_gradient.cu",
    "learned_gradient.cu",
    "maximum.cu",
    "multilinear.cu",
    "multilinear_gradients.cu",
    "tree.cu",
    "tree_of_bits.cu",
    "tree_input_gradient.cu",
    "dense_trees.cu",
    "fourier.cu",
    "gates.cu",
    "select.cu",
    "candidates.cu",
    "step.cu",
    "adam.cu",
)
FLAGS = ("-O3",)

# See `signatures`; the stream, which is the last argument of all, is left out.
_FUNCTIONS = {
    "pack": "piiiip",
    "lookup": "pppppppiiiii",
    "group_sum": "ppidpiiii",
    "spread": "pipii",
    "lookup_input_gradient": "pppppidpiiiii",
    "lookup_pin_gradient": "ppppidipiiii",
    "lookup_table_gradient": "pppidppiiiii",
    "lookup_chained_gradient": "pppiiiipppppidii",
    "image_gradient": "pppppppppidpiiii",
    "extension_image_gradient": "pppppppppppiiii",
    "image_gradient_once": "pppppidpiii",
    "image_gradient_of_pins": "ppppppppii",
    "keep_shares": "ppppiiipppp",
    "learned_gradient": "pppppiipppiiiipip",
    "extension_logits_gradient": "pppppiipppiiiipip",
    "logits_gradient": "ppppppiipiipip",
    "maximum": "pppippiiii",
    "maximum_of_bits": "pppipppiiii",
    "maximum_gradient": "pppippppiiii",
    "multilinear": "ppppppiiiiii",
    "multilinear_input_gradient": "ppppppppiiiii",
    "multilinear_table_gradient": "ppppppiiiiii",
    "multilinear_gradients": "pppppppppppiiiiii",
    "tree": "ppppppiiiiippi",
    "tree_gradients": "ppppppiiiiipppppi",
    "tree_of_bits": "ppppppiiiiippi",
    "tree_of_bits_gradients": "ppppppiiiiippppi",
    "tree_input_gradient": "piiiiipppppip",
    "dense_trees": "pppppppiiipi",
    "dense_tree_gradients": "pppppppiiipppppi",
    "dense_tree_input_gradient": "ppiipi",
    "fourier_waves": "ppi",
    "fourier": "ppppppiiiii",
    "fourier_input_gradient": "pppppppppiiiii",
    "fourier_coefficient_gradient": "pppppppiiiiii",
    "gates": "ppppppiii",
    "gates_gradient": "pppppppppiii",
    "argmax": "piip",
    "read_keys": "pip",
    "signs": "piip",
    "best_candidates": "ppiip",
    "candidate_shares": "piidp",
    "candidates_gradient": "ppipiip",
    "candidates_gradient_of_bits": "ppipiip",
    "candidates_input_gradient": "pppipiip",
    "select_adam": "pppiipipiippddddp",
    "choose": "pippppiipp",
    "binarize": "ppppii",
    "cross_entropy": "ppppppii",
    "adam": "pippppdddd",
}


def available() -> bool:
    """Whether the kernels are there; the first call compiles them."""
    return library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load("cuda", FILES, FLAGS)
    if loaded is not None:
        declare(loaded, "difflut_cuda_", {name: f"{kinds}p" for name, kinds in _FUNCTIONS.items()})
    return loaded


def launch(function: str, *arguments: Tensor | float | None) -> None:
    """Calls a kernel on the current stream of the device on which its tensors are.

    Raises:
        RuntimeError: It could not be launched.
    """
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor) and argument.is_cuda)
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        code = getattr(library(), f"difflut_cuda_{function}")(*as_values(arguments), stream)
    if code:
        raise RuntimeError(f"the CUDA kernel {function} could not be launched: CUDA error {code}")


@cache
def _ticket(device: torch.device, stream: int) -> Tensor:
    return torch.zeros(1, dtype=torch.int32, device=device)


def ticket(device: torch.device) -> Tensor:
    """The zero with which the blocks of a kernel agree which of them ends last; kernels of one stream share it."""
    return _ticket(device, torch.cuda.current_stream(device).cuda_stream)
