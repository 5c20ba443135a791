"""What a stranger's file claims of its network, held against what is in it, before memory is taken for it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

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
        kwargs = kwargs or {}
        if any(value.alias_info for value in func._schema.returns):  # in place, or a view
            return func(*args, **kwargs)
        if _numbers_of(func, args, kwargs) > self.left:
            raise ValueError(f"its tensors have far more numbers than {self.held} bytes of weights can be of")
        results = func(*args, **kwargs)
        self.left -= _count(results)
        return results


def _most(held: int) -> int:
    return ROOM + 8 * held  # a table has an entry at least, which is a bit


def _numbers_of(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """The numbers that an operation makes, which torch finds without making them."""
    device = {"device": "meta"} if any(argument.name == "device" for argument in func._schema.arguments) else {}
    args, kwargs = tree_map_only(Tensor, lambda x: x.to("meta"), (tuple(args), {**kwargs, **device}))
    try:
        return _count(func(*args, **kwargs))
    except (RuntimeError, NotImplementedError):  # as of `x[x > 0]`: they depend on values, and are known once made
        return 0


def _count(results: Any) -> int:
    parts = results if isinstance(results, list | tuple) else [results]
    return sum(part.numel() for part in parts if isinstance(part, Tensor))


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
