"""What a stranger's file claims of its network, held against what is in it, before memory is taken for it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from math import prod
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

ROOM = 2**24  # numbers that a network may have besides those in its file, such as inputs that no table reads
STEPS = 8  # tensors of the size of all of a network that are made on the way to it
FREE = ("seed", "steps")  # endings of the names of numbers that take no memory


def check_claims(config: Mapping[str, Any], held: int) -> None:
    """Refuses a description with a size that a file of so many bytes of weights cannot be of.

    Raises:
        ValueError: It is one; the error names the number.
    """
    for path, number in _numbers(config, ""):
        if number > _most(held) and not path.endswith(FREE):
            raise ValueError(f"{path[1:]}: {number} is far more than {held} bytes of weights can be of")


class Allowance(TorchDispatchMode):
    """Within it torch makes no more numbers in all than a network of so many bytes of weights needs.

    Products of several sizes are met here, whatever component multiplies them.

    Raises:
        ValueError: An operation would make more; raised before it takes memory.
    """

    def __init__(self, held: int) -> None:
        super().__init__()
        self.held, self.left = held, STEPS * _most(held)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # where it is true torch imports its compiler at the first operation, which takes seconds

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        in_place_or_view = any(value.alias_info for value in func._schema.returns)
        if not in_place_or_view and _numbers_made(args) > self.left:
            raise ValueError(f"its tensors have far more numbers than {self.held} bytes of weights can be of")
        results = func(*args, **(kwargs or {}))
        if not in_place_or_view:
            made = results if isinstance(results, list | tuple) else [results]
            self.left -= sum(x.numel() for x in made if isinstance(x, Tensor))
        return results


def _most(held: int) -> int:
    return ROOM + 8 * held  # a table has an entry at least, which is a bit


def _numbers_made(args: Sequence[Any]) -> int:
    """At least the numbers that an operation makes of tensors and shapes, each dimension as long as the longest."""
    shapes: list[Sequence[int]] = []
    for arg in args:
        parts = arg if isinstance(arg, list | tuple) else [arg]
        shapes += [part.shape for part in parts if isinstance(part, Tensor)]
        if parts is arg and all(type(part) is int for part in parts):
            shapes.append(parts)
    shapes = shapes or [[arg] for arg in args if type(arg) is int]  # as of `arange`
    return prod(max(sizes) for sizes in zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1))


def _numbers(value: Any, path: str) -> Iterator[tuple[str, int]]:
    """All whole numbers of a description, and where they are."""
    if type(value) is int:
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _numbers(part, f"{path}[{i}]")
