"""Work on a CPU that is done again without Python in between."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

# Operations whose result depends on values can only be done by the code that asked for them.
DECIDED_BY_VALUES = torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape

aten = torch.ops.aten
ALLOCATIONS = aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided


class _Present(threading.local):
    """What holds for the kernels that a thread runs now; others may train beside it."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.by_notes = 0


_present = _Present()


class Recording(TorchDispatchMode):
    """Notes the kernels and the operations of torch that run inside, to run them again with the same memory.

    It is to a CPU what a CUDA graph is to a GPU: tensors that are made inside keep their place, and code that made them
    does not run again. Random numbers are drawn anew.

    Attributes:
        is_complete: Whether all that ran can be done again. It cannot where code looked at a value, as `item` does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_complete = True
        self._is_paused = False
        self._work: list[Callable[[int], object]] = []
        self._kept: list[object] = []
        self._written: list[Tensor] = []

    def __enter__(self) -> "Recording":
        _present.recordings.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _present.recordings.remove(self)

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        results = function(*arguments, **options)
        if self._is_paused:
            return results
        self.is_complete &= not any(tag in function.tags for tag in DECIDED_BY_VALUES)
        if not (function.is_view or function.overloadpacket in ALLOCATIONS or function.namespace == "profiler"):
            again, named = tree_map(_alias, arguments), tree_map(_alias, options)
            if function._schema.is_mutable:
                self._work.append(lambda _: function(*again, **named))
            else:
                kept = tree_map(_alias, results)
                self._work.append(lambda _: _copy(kept, function(*again, **named)))
        return results

    def add(self, kernel: Callable[..., object], values: list[Any], arguments: object) -> None:
        """Notes the call of a kernel, which takes the number of threads last."""
        self.keep(arguments)
        self._work.append(lambda threads: kernel(*values, threads))

    def do(self, work: Callable[[], object]) -> None:
        """Does work, and notes that it is done again as a whole."""
        self._is_paused = True
        try:
            work()
        finally:
            self._is_paused = False
        self._work.append(lambda _: work())

    def keep(self, tensors: object) -> None:
        """Keeps the memory of tensors, and whatever else there is."""
        # Not the tensors: autograd takes a gradient as it is, without a copy, only where nobody else has it.
        self._kept += [each.untyped_storage() if isinstance(each, Tensor) else each for each in tree_iter(tensors)]

    def wrote(self, tensor: Tensor) -> None:
        """Notes that a kernel wrote to a tensor; its version changes as often."""
        self._written.append(tensor)

    @torch.no_grad()
    def replay(self) -> None:
        """Does it all once more, with torch's present number of threads."""
        threads = torch.get_num_threads()
        for work in self._work:
            work(threads)
        increment_version(self._written)


@contextmanager
def by_notes() -> Iterator[None]:
    """Inside, bits are what is noted to be bits, as in a recording, where nobody looks at values that may change."""
    _present.by_notes += 1
    try:
        yield
    finally:
        _present.by_notes -= 1


def as_a_whole(work: Callable[[], object]) -> None:
    """Does work that only its own code can do again, as talking to other processes; a recording calls it again.

    Args:
        work: Function that reads and writes tensors in place, which keep their memory.
    """
    noting = present()
    work() if noting is None else noting.do(work)


def cannot_repeat() -> None:
    """Says that only the code that runs now can do its work again."""
    for recording in _present.recordings:
        recording.is_complete = False


def may_look() -> bool:
    """Whether values may decide how something is computed."""
    return not _present.recordings and not _present.by_notes


def present() -> Recording | None:
    """The recording that notes what runs now."""
    return _present.recordings[-1] if _present.recordings else None


def _alias(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _copy(kept: Any, results: Any) -> None:
    if isinstance(kept, Tensor):  # nearly always; to look for tensors takes longer than to copy one
        kept.copy_(results)
        return
    for target, result in zip(tree_iter(kept), tree_iter(results), strict=True):
        if isinstance(target, Tensor):
            target.copy_(result)
