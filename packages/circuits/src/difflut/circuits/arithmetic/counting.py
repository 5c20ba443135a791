"""Which bits count for each class, by how often, and how wide the number of a class is."""

from collections import Counter

from difflut.circuits.arithmetic.compressors import Columns, columns_of
from difflut.circuits.circuit import Circuit


def class_columns(circuit: Circuit, names: dict[int, str]) -> list[Columns]:
    """For each class the bits that count for it, by how often; `names` are those of the outputs."""
    found = []
    for number in range(circuit.num_classes):
        members = circuit.groups == number
        bits = zip(circuit.outputs[members].tolist(), circuit.inverted[members].tolist(), strict=True)
        found.append(
            columns_of(("~" * inverted + names[bit], often) for (bit, inverted), often in Counter(bits).items())
        )
    return found


def index_width(num_classes: int) -> int:
    return max((num_classes - 1).bit_length(), 1)
