"""Values that belong to tensors, and are forgotten with them."""

import weakref
from typing import Generic, TypeVar

from torch import Tensor

V = TypeVar("V")


class ByTensor(Generic[V]):
    """A value for each of some tensors, which it does not keep alive.

    It does what `torch.utils.weak.WeakTensorKeyDictionary` does in a tenth of the time: each operation asks it, and
    steps of small networks take as long as their questions.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], V]] = {}

    def get(self, tensor: Tensor) -> V | None:
        """The tensor's value, or None."""
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def set(self, tensor: Tensor, value: V) -> None:
        """Gives the tensor a value in the place of any earlier one."""
        number, entries = id(tensor), self._entries

        def forget(reference: weakref.ref[Tensor]) -> None:
            # Another tensor may have the number by now.
            if number in entries and entries[number][0] is reference:
                del entries[number]

        entries[number] = weakref.ref(tensor, forget), value

    def pop(self, tensor: Tensor) -> V | None:
        """Takes the tensor's value away, and returns it, or None."""
        value = self.get(tensor)
        if value is not None:
            del self._entries[id(tensor)]
        return value

    def __len__(self) -> int:
        return len(self._entries)
