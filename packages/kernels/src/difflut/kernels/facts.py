"""Facts about tensors that are known without a look at their entries: one home, and one check, for all of them.

A fact holds for as long as the tensor lies in its memory and nothing is written to it. Writes to `x.data`, and torch's
fused optimizers, are the exceptions: nobody counts them.
"""

import weakref
from typing import Any, NamedTuple

from torch import Tensor, UntypedStorage

from difflut.kernels.by_tensor import ByTensor


class _Fact(NamedTuple):
    version: int
    storage: weakref.ref[UntypedStorage]
    value: Any


_facts: ByTensor[dict[str, _Fact]] = ByTensor()


def note(tensor: Tensor, name: str, value: Any) -> None:
    """Notes a fact; a tensor of inference mode, of which nobody counts the writes, has none."""
    if not tensor.is_inference():
        fact = _Fact(tensor._version, weakref.ref(tensor.untyped_storage()), value)
        facts = _facts.get(tensor)
        if facts is None:
            _facts.set(tensor, {name: fact})
        else:
            facts[name] = fact


def known(tensor: Tensor, name: str) -> Any | None:
    """The value of a fact that still holds, or None."""
    facts = _facts.get(tensor)
    fact = None if facts is None else facts.get(name)
    if fact is None or fact.version != tensor._version or fact.storage() is not tensor.untyped_storage():
        return None
    return fact.value
