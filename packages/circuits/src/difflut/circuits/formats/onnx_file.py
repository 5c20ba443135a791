"""ONNX: the hard network as a graph of standard operators, for runtimes of other languages and devices."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.sums import MOST
from difflut.registry import register_format

OPSET, IR_VERSION = 13, 8  # old enough for runtimes of 2021


@register_format("onnx")
def write_onnx(circuit: Circuit, path: str | os.PathLike[str], words: InputWords | None = None) -> Path:
    """Writes a model from `x`, float32 `(batch, features)`, to `logits`, float32 `(batch, classes)`, and `classes`.

    Sums of pixels, where there are any, are made term by term. Levels are sums of comparisons, and tables are gathered
    at their addresses. `classes` are int64 `(batch,)`, of equal counts the lowest. All are bit for bit those of the
    circuit. The graph has the name of the file.

    Args:
        words: Not needed; values are compared as floats.

    Raises:
        ImportError: The package onnx is missing.
        ValueError: A class can have more than 2**24 votes, which float32 does not count.
    """
    try:
        from onnx import TensorProto, helper, save_model
    except ImportError as error:
        raise ImportError("ONNX needs the package onnx: pip install 'difflut[onnx]'") from error
    if circuit.max_counts.max() > 2**24:
        raise ValueError(f"a class has up to {circuit.max_counts.max()} votes; ONNX counts in float32, up to {2**24}")
    path, graph = Path(path), _Graph()
    logits, classes = _head(graph, circuit, _signals(graph, circuit))
    graph = helper.make_graph(
        [*graph.nodes, helper.make_node("Identity", [logits], ["logits"]),
         helper.make_node("Identity", [classes], ["classes"])],
        path.stem,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", circuit.sample_size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", circuit.num_classes]),
         helper.make_tensor_value_info("classes", TensorProto.INT64, ["batch"])],
        graph.constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="difflut")
    model.ir_version = IR_VERSION
    save_model(model, os.fspath(path))
    return path


class _Graph:
    """A graph under construction; values and constants are given by name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operator; returns the name of its output."""
        from onnx import helper

        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def cast(self, value: str, dtype: type[np.generic]) -> str:
        from onnx import helper

        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _features(graph: _Graph, circuit: Circuit) -> str:
    """What is compared, float32 `(batch, features)`."""
    if circuit.sums is None:
        return "x"
    sums, zero = circuit.sums, graph.constant(np.zeros(1, np.float32))
    numbers = graph.add("Where", graph.add("IsNaN", "x"), zero, "x")
    values = graph.add(
        "Clip", graph.add("Ceil", numbers), *(graph.constant(np.array(end, np.float32)) for end in (0, MOST))
    )
    number = np.arange(sums.inputs + sums.num_sums)  # the values have the order of the levels
    known = sums.inputs
    for rows in sums.levels:
        total = zero
        for sources, weights in zip(sums.sources[rows].T, sums.weights[rows].T, strict=True):
            source = graph.add("Gather", values, graph.constant(number[np.maximum(sources, 0)]), axis=1)
            factors = graph.constant(np.where(sources < 0, 0, weights).astype(np.float32))
            total = graph.add("Add", total, graph.add("Mul", source, factors))
        values = graph.add("Concat", values, total, axis=1)
        number[sums.inputs + rows] = known + np.arange(len(rows))
        known += len(rows)
    return graph.add("Gather", values, graph.constant(number[sums.features]), axis=1)


def _signals(graph: _Graph, circuit: Circuit) -> str:
    """All signals, uint8 `(batch, signals)`."""
    features = _features(graph, circuit)
    exceeds = graph.add("Greater", graph.add("Unsqueeze", features, graph.constant(np.array([2]))),
                        graph.constant(circuit.thresholds[None]))  # fmt: skip
    levels = graph.add("ReduceSum", graph.cast(exceeds, np.int32), graph.constant(np.array([2])), keepdims=0)
    bits = graph.add("Gather", graph.constant(circuit.codebook.astype(np.uint8)), levels, axis=0)
    signals = graph.add("Reshape", bits, graph.constant(np.array([-1, circuit.num_inputs])))
    tables = graph.constant(circuit.tables.astype(np.uint8).ravel())
    for rows in circuit.layer_slices():
        addresses = graph.constant(circuit.table_of[rows].astype(np.int32) * circuit.tables.shape[1])
        for place, pins in enumerate(circuit.wiring[rows].T):
            # A table does not depend on a pin that is none, -1, whichever signal is read.
            pin = graph.add("Gather", signals, graph.constant(np.maximum(pins, 0).astype(np.int64)), axis=1)
            weighted = graph.add("Mul", graph.cast(pin, np.int32), graph.constant(np.array(1 << place, np.int32)))
            addresses = graph.add("Add", addresses, weighted)
        signals = graph.add("Concat", signals, graph.add("Gather", tables, addresses, axis=0), axis=1)
    return signals


def _head(graph: _Graph, circuit: Circuit, signals: str) -> tuple[str, str]:
    """Logits and classes. An inverted vote counts as one in the bias, less its signal."""
    votes = np.zeros((len(circuit.outputs), circuit.num_classes), np.float32)
    votes[np.arange(len(votes)), circuit.groups] = np.where(circuit.inverted, -1, 1)
    bias = circuit.bias + np.bincount(circuit.groups, circuit.inverted, circuit.num_classes)
    counted = graph.add("Gather", signals, graph.constant(circuit.outputs.astype(np.int64)), axis=1)
    sums = graph.add("MatMul", graph.cast(counted, np.float32), graph.constant(votes))
    counts = graph.add("Add", sums, graph.constant(bias.astype(np.float32)))
    logits = graph.add("Div", counts, graph.constant(np.array(circuit.tau, np.float32)))
    return logits, graph.add("ArgMax", counts, axis=1, keepdims=0)
