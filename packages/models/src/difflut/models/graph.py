"""What reads what in a network: sources by name, and layers that run as one operation."""

from collections.abc import Collection, Sequence
from math import prod

from difflut.layers import GroupSum, Layer, fusion
from difflut.layers.shapes import Shape, joined

ENCODER = -1  # the number of the encoder's bits among the sources; layers count from 0


class Graph:
    """The layers of a network and their sources by number.

    Args:
        layers: Layers in the order in which they are evaluated.
        head: The group sum.

    Attributes:
        sources: Numbers of what each layer reads side by side; `ENCODER` for the encoder's bits.
        head_sources: The layers whose outputs are returned, or counted by the head.

    Raises:
        ValueError: A name is not unique, a source does not exist or comes later, or shapes do not fit.
    """

    def __init__(self, layers: Sequence[Layer], head: GroupSum | None) -> None:
        numbers = {"encoder": ENCODER}
        self.sources: list[tuple[int, ...]] = []
        for i, layer in enumerate(layers):
            self.sources.append(_found(layer.reads, numbers, f"layers[{i}]"))
            name = name_of(i, layer)
            if name in numbers:
                raise ValueError(f"layers[{i}] has the name {name!r} of an earlier source; give it another")
            numbers[name] = i
        del numbers["encoder"]  # a head counts the outputs of layers
        self.head_sources = _found(None if head is None else head.reads, numbers, "groupsum")
        self._check_shapes(layers)
        readers = [*self.sources, self.head_sources]
        self._last_reader = {number: i for i, sources in enumerate(readers) for number in sources}
        self._single = {i for i in range(len(layers)) if sum(sources.count(i) for sources in readers) == 1}

    def _check_shapes(self, layers: Sequence[Layer]) -> None:
        shapes: dict[int, Shape] = {}
        for i, (layer, sources) in enumerate(zip(layers, self.sources, strict=True)):
            # The shape of the bits is known when the encoder is fitted; before that, the layer says it.
            known = [shapes.get(number) for number in sources]
            read = joined([shape for shape in known if shape is not None]) if None not in known else None
            if read is not None and not _fits(read, layer.input_shape):
                names = " and ".join(f"layers[{number}]" for number in sources)
                verb = "has" if len(sources) == 1 else "have"
                raise ValueError(
                    f"layers[{i}] has input_size={layer.input_size}, but {names} {verb} output_size={_plain(read)}"
                )
            if sources == (ENCODER,):
                shapes.setdefault(ENCODER, layer.input_shape)
            shapes[i] = layer.output_shape

    def run(self, layers: Sequence[Layer], start: int, known_bits: Collection[int]) -> int:
        """The end of the layers from `start` on that run as one operation on bits; `start` itself where none do.

        Args:
            layers: All layers.
            start: The number of the first one.
            known_bits: Numbers of the sources before it that are known to hold bits.
        """
        bits, end = set(known_bits), start
        while end < len(layers):
            layer = layers[end]
            reads_bits = bits.issuperset(self.sources[end])
            of_bits = fusion.is_maximum, fusion.is_learned_lookup
            if not fusion.is_lookup(layer) and not (reads_bits and any(suits(layer) for suits in of_bits)):
                break
            if fusion.gives_bits(layer):
                bits.add(end)
            end += 1
        return end

    def outputs(self, start: int, end: int) -> list[int]:
        """Those of the layers from `start` to `end` that are read behind them."""
        return [number for number in range(start, end) if not self.is_last_use(number, end - 1)]

    def behind(self, outputs: Sequence[int], start: int) -> list[int]:
        """The layers from `start` on of which outputs are made, and before them the sources that those read."""
        needed = set(outputs)
        for number in reversed(range(start, len(self.sources))):
            needed.update(self.sources[number] if number in needed else ())
        return sorted(needed)

    def tree(self, layers: Sequence[Layer], start: int) -> int:
        """The end of the layers that, from the given one on, run as one operation on values: a tree, or dense ones.

        It is the next layer where none reads this one alone.
        """
        end = start + 1
        if not fusion.is_extension(layers[start]):
            return end
        if fusion.is_dense_extension(layers[start]):
            while end < len(layers) and self._follows(end) and fusion.is_dense_extension(layers[end]):
                end += 1
            return end
        while end < len(layers) and self._follows(end) and fusion.is_level(layers[end]):
            end += 1
        pooled = end > start + 1 and end < len(layers) and self._follows(end) and fusion.is_pooling(layers[end])
        return end + 1 if pooled else end

    def _follows(self, number: int) -> bool:
        """Whether a layer reads the one before, and is the only one to do so."""
        return self.sources[number] == (number - 1,) and number - 1 in self._single

    def is_last_use(self, number: int, reader: int) -> bool:
        """Whether no layer after a reader reads a source. The head counts as a layer behind all others."""
        return self._last_reader.get(number, -1) <= reader


def name_of(number: int, layer: Layer) -> str:
    """The name by which later layers can read a layer: its own, or its number."""
    return layer.name or str(number)


def _found(reads: Sequence[str] | None, numbers: dict[str, int], reader: str) -> tuple[int, ...]:
    if reads is None:
        return (list(numbers.values())[-1],)
    for name in reads:
        if name not in numbers:
            raise ValueError(f"{reader} reads {name!r}, which is no source before it; known: {', '.join(numbers)}")
    return tuple(numbers[name] for name in reads)


def _fits(read: Shape, wanted: Shape) -> bool:
    """Whether what is read has the shape, or becomes it: an image is features, too, and features can be an image."""
    return read == wanted if len(read) == len(wanted) else prod(read) == prod(wanted)


def _plain(shape: Shape) -> int | list[int]:
    return shape[0] if len(shape) == 1 else list(shape)
