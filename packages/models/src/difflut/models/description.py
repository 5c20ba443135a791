"""Networks as plain data: the dictionary that YAML, JSON and checkpoints hold, there and back.

encoder: {type: thermometer, params: {num_bits: 8}}
layers:
  - {type: random, node_type: dwn, input_size: 6272, output_size: 1000, n: 6, seed: 42,
     node_params: {...}, layer_training: {...}, node_init: {...}, node_regularizers: [l2]}
groupsum: {k: 10, tau: 1.0}
"""

import inspect
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from difflut.layers import GroupSum, Layer, LayerConfig
from difflut.layers.shapes import Shape
from difflut.models.documents import read_document
from difflut.models.graph import name_of
from difflut.models.networks import LUTNetwork
from difflut.models.validation import located, validate_config
from difflut.nodes import Node
from difflut.registry import ENCODERS, INITIALIZERS, LAYERS, NODES, REGULARIZERS, Configured


def build_model(config: Mapping[str, Any] | str | os.PathLike[str]) -> LUTNetwork:
    """Builds a network from its description, or from the YAML or JSON file that holds it.

    All names and keys are checked first (see `validate_config`). A layer's `input_size` may be left out after the first
    layer, its `n` where `node_params` has `input_dim`, and its `seed` where the whole description has one.

    Raises:
        ConfigError: With the path of the key that is wrong.
        FileNotFoundError: There is no such file.
    """
    config = _read(Path(config)) if isinstance(config, (str, os.PathLike)) else config
    validate_config(config)
    encoder = None
    layers: list[Layer] = []
    shapes: dict[str, Shape] = {}
    if config.get("encoder") is not None:
        with located("encoder.params"):
            encoder = ENCODERS[config["encoder"]["type"]](**config["encoder"].get("params") or {})
    for i, layer in enumerate(config["layers"]):
        # Without an input size of its own a layer takes what it reads from the shapes of all before it.
        defaults: dict[str, Any] = {"input_size": shapes}
        if "seed" in config:
            defaults["seed"] = config["seed"] + i
        with located(f"layers[{i}]"):
            layers.append(_build_layer(defaults | dict(layer)))
        if not layers[1:]:
            shapes["encoder"] = layers[0].input_shape
        shapes[name_of(i, layers[-1])] = layers[-1].output_shape
    groupsum = config.get("groupsum")
    with located("groupsum"):
        head = None if groupsum is None else GroupSum(**groupsum)
    with located("network"):
        return LUTNetwork(encoder, layers, head)


def _read(path: Path) -> Any:
    with located(str(path)):
        return read_document(path)


def describe(model: LUTNetwork) -> dict[str, Any]:
    """The description from which `build_model` builds the same network, apart from what training has changed.

    Raises:
        UnknownComponentError: A component is not registered, and so has no name.
    """
    return {
        "encoder": None if model.encoder is None else _named(ENCODERS.name_of(type(model.encoder)), model.encoder),
        "layers": [_describe_layer(layer) for layer in model.layers],
        "groupsum": None if model.groupsum is None else model.groupsum.get_params(),
    }


def _named(name: str, component: Configured) -> dict[str, Any]:
    return {"type": name, "params": component.get_params()}


def _build_layer(layer: dict[str, Any]) -> Layer:
    layer_class = LAYERS[layer["type"]]
    parameters = inspect.signature(layer_class).parameters
    arguments = {name: layer[name] for name in parameters if name in layer}
    if "node_type" in parameters:
        node_kwargs = dict(layer.get("node_params") or {})
        if layer.get("node_init"):
            node_kwargs["init_fn"] = INITIALIZERS[layer["node_init"]["initializer"]]
            node_kwargs["init_kwargs"] = layer["node_init"].get("init_kwargs") or {}
        node_kwargs["regularizers"] = _build_regularizers(layer.get("node_regularizers") or {})
        arguments |= {"node_type": NODES[layer["node_type"]], "node_kwargs": node_kwargs}
    return layer_class(**arguments, layer_config=LayerConfig(**layer.get("layer_training") or {}))


def _build_regularizers(regularizers: Any) -> dict[str, tuple[Any, ...]]:
    """Reads a list of names, `{name: weight}`, or `{label: {type, weight, arguments}}`."""
    if not isinstance(regularizers, Mapping):
        regularizers = dict.fromkeys(regularizers, 1.0)
    entries = {}
    for label, value in regularizers.items():
        options = value if isinstance(value, Mapping) else {"weight": value}
        function = REGULARIZERS[options.get("type", label)]
        entries[label] = (function, float(options.get("weight", 1.0)), options.get("arguments") or {})
    return entries


def _describe_layer(layer: Layer) -> dict[str, Any]:
    arguments = layer.get_params()
    description: dict[str, Any] = {"type": LAYERS.name_of(type(layer))}
    if "node_type" in arguments:
        description["node_type"] = NODES.name_of(type(layer.node))
    own = {name: value for name, value in arguments.items() if name not in ("node_type", "node_kwargs", "layer_config")}
    description |= own | {"layer_training": asdict(layer.layer_config)}
    return description | (_describe_node(layer.node) if "node_type" in arguments else {})


def _describe_node(node: Node) -> dict[str, Any]:
    params = node.get_params()
    del params["width"]
    init_fn, init_kwargs, penalties = (params.pop(name) for name in ("init_fn", "init_kwargs", "regularizers"))
    description: dict[str, Any] = {"node_params": params}
    if init_fn is not None:
        description["node_init"] = {"initializer": INITIALIZERS.name_of(init_fn), "init_kwargs": init_kwargs}
    description["node_regularizers"] = {
        label: {
            "type": REGULARIZERS.name_of(penalty.function),
            "weight": penalty.weight,
            "arguments": dict(penalty.arguments),
        }
        for label, penalty in penalties.items()
    }
    return description
