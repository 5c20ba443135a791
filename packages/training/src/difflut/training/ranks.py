"""The processes that train one network together, and what they tell each other.

They are those of torch's default process group, whoever started it: torchrun, Ray Train, or a job on its own machine.
Each holds the whole network and computes a part of every batch.
"""

import pickle
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.parts import Part, computing

LARGE = 2**18  # weights of a tensor from which on its gradient is summed by itself, while the backward pass goes on

TIMED = 7  # sums of gradients that are timed, for their median

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        number: Number of this process, from 0.
        count: Number of processes.
    """

    number: int = 0
    count: int = 1

    @classmethod
    def present(cls) -> "Ranks":
        """The processes of torch's default group; this one alone where there is no group."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.number == 0

    def rows(self, total: int) -> slice:
        """The rows of this process, of so many in all; the processes have equal numbers of them, or differ by one."""
        return slice(*(rank * total // self.count for rank in (self.number, self.number + 1)))

    def part(self, batch: int) -> Part:
        """This process's part of a batch."""
        mine = self.rows(batch)
        return Part(min(mine.start, batch - 1), mine.stop - mine.start, batch, self.add)

    @contextmanager
    def computing(self, part: Part) -> Iterator[None]:
        """Inside, this part of a batch is computed."""
        with computing(part) if self.count > 1 else nullcontext():
            yield

    def add(self, tensor: Tensor) -> None:
        """Sums a tensor over all processes, in place; all get the same bits."""
        if self.count > 1:
            _sum(tensor)

    @contextmanager
    def united(self) -> Iterator[None]:
        """An error that one process raises inside is raised on all at the end; one that has its own raises that."""
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        errors = [own]
        if self.count > 1:
            errors = [None] * self.count
            dist.all_gather_object(errors, own and portable(own))
        raised = own or next(filter(None, errors), None)
        if raised:
            raise raised

    def from_first(self, make: Callable[[], T]) -> T:
        """The result of `make`, which the first process alone calls; its error is raised on all."""
        made: list[Any] = [None]
        with self.united():
            if self.is_first:
                made[0] = make()
        if self.count > 1:
            dist.broadcast_object_list(made)
        return made[0]

    @torch.no_grad()
    def follow_first(self, module: nn.Module) -> None:
        """Gives the parameters and buffers of a module the values that they have on the first process."""
        if self.count == 1:
            return
        for tensor in (*module.parameters(), *module.buffers()):
            first = tensor.detach().clone(memory_format=torch.contiguous_format)
            dist.broadcast(first, 0)
            if not torch.equal(first, tensor):
                tensor.copy_(first)

    @torch.no_grad()
    def check_same(self, tensors: Iterable[Tensor]) -> None:
        """Checks that tensors have the same entries on all processes.

        Raises:
            RuntimeError: Entries differ, so the processes no longer train one network.
        """
        if self.count == 1:
            return
        sums = torch.stack([tensor.reshape(-1).view(torch.uint8).sum() for tensor in tensors])
        ends = torch.cat([sums, -sums])
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        if not torch.equal(ends[: len(sums)], -ends[len(sums) :]):
            raise RuntimeError(f"the parameters of the {self.count} processes are no longer the same")


ALONE = Ranks()


class GradientSums:
    """Sums gradients over all processes: large ones while the backward pass goes on, all others in one piece behind it.

    Args:
        parameters: Parameters of the network that each process holds.
        ranks: The processes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
        self.ranks = ranks
        self.parameters = list(parameters)
        self._sent: list[dist.Work] = []

    @contextmanager
    def following(self) -> Iterator[None]:
        """Surrounds a backward pass that starts without gradients; after it they are those of all processes."""
        if self.ranks.count == 1:
            yield
            return
        # What a recording does again is in order, so that it has nothing to wait for.
        at_once = self._large() if kernels.may_look() else []
        hooks = [p.register_post_accumulate_grad_hook(self._send) for p in at_once]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        sent = {id(p) for p in at_once}
        self._add([p.grad for p in self.parameters if id(p) not in sent and p.grad is not None])
        while self._sent:
            self._sent.pop().wait()

    def seconds(self) -> float:
        """How long one sum of all gradients takes by itself, the median of several; all processes call this."""
        gradients = [torch.zeros_like(p) for p in self._large()]
        small = [torch.zeros_like(p) for p in self.parameters if p.numel() < LARGE]
        taken = []
        for _ in range(TIMED):
            self._wait()
            start = time.perf_counter()
            for gradient in gradients:
                dist.all_reduce(gradient)
            self._add(small)
            self._wait()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    def _wait(self) -> None:
        if self.parameters[0].is_cuda:
            torch.cuda.synchronize(self.parameters[0].device)

    def _large(self) -> list[nn.Parameter]:
        return [p for p in self.parameters if p.requires_grad and p.numel() >= LARGE]

    def _send(self, p: Tensor) -> None:
        if p.grad is not None:
            p.grad = p.grad.clone()  # its memory may belong to a gradient that the backward pass still uses
            self._sent.append(dist.all_reduce(p.grad, async_op=True))

    def _add(self, gradients: list[Tensor]) -> None:
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        _sum(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _sum(tensor: Tensor) -> None:
    kernels.as_a_whole(partial(dist.all_reduce, tensor.detach()))


def portable(error: BaseException) -> Exception:
    """An error for another process: its class, or the nearest base of it, that can be made from text alone."""
    for kind in type(error).__mro__:
        with suppress(Exception):
            made = pickle.loads(pickle.dumps(kind(str(error))))
            if isinstance(made, Exception):
                return made
    return RuntimeError(f"{type(error).__name__}: {error}")
