"""The table of a mixture of all gates of two inputs."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.tracing import untraced

NUM_GATES = 16


@untraced
def gate_table(logits: Tensor, *, use_cuda: bool = True) -> Tensor:
    """The table of a softmax over the 16 functions of two bits (https://arxiv.org/abs/2210.08277, section 3.1).

    A gate's number is its truth table: bit `a` of it is the output at address `a`.

    Args:
        logits: (..., 16)
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (..., 4)

    Raises:
        ValueError: There are not 16 logits.
    """
    if logits.shape[-1] != NUM_GATES:
        raise ValueError(f"two bits have {NUM_GATES} functions, got {logits.shape[-1]} logits")
    if backend_for(logits, use_cuda) is cuda:
        return _GateTable.apply(logits)
    gates = torch.arange(NUM_GATES, device=logits.device)
    outputs = gates[:, None] >> gates[:4] & 1
    return logits.softmax(-1) @ outputs.to(logits.dtype)


class _GateTable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        logits = logits.contiguous()
        table = logits.new_empty(*logits.shape[:-1], 4)
        cuda.launch("gates", logits, table, logits.numel() // NUM_GATES)
        ctx.save_for_backward(logits)
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        logits_grad = torch.empty_like(logits)
        cuda.launch("gates_gradient", logits, grad.contiguous(), logits_grad, logits.numel() // NUM_GATES)
        return logits_grad
