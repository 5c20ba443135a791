"""What a stranger's file claims of its network, held against what is in it, before memory is taken for it."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

ROOM = 2**24  # numbers that a network may have besides those in its file, such as inputs that no table reads
FREE = ("seed", "steps")  # endings of the names of numbers that take no memory


def check_claims(config: Mapping[str, Any], held: int) -> None:
    """Refuses a description of sizes that a file of so many bytes of weights cannot be of.

    Raises:
        ValueError: It is one; the error names the number.
    """
    most = ROOM + 8 * held  # a table has an entry at least, which is a bit
    for path, number in _numbers(config, ""):
        if number > most and not path.endswith(FREE):
            raise ValueError(f"{path[1:]}: {number} is far more than {held} bytes of weights can be of")
    for i, layer in enumerate(config["layers"]):
        if (weights := _choices(layer)) > most:
            raise ValueError(f"layers[{i}]: {weights} weights of its wiring are far more than {held} bytes")


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


def _choices(layer: Mapping[str, Any]) -> int:
    """The weights by which the pins of a layer choose their inputs, if they do."""
    if "top_k" not in layer:
        return 0
    inputs = [number for _, number in _numbers(layer.get("input_size"), "")]
    kernel = [number for _, number in _numbers(layer.get("kernel_size"), "")]
    window = inputs[0] * math.prod(kernel * (2 // len(kernel))) if kernel else math.prod(inputs)
    n = layer.get("n") or layer["node_params"]["input_dim"]
    return int(layer["output_size"] * n * (layer["top_k"] or window))
