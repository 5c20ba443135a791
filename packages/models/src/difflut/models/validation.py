"""Checking a network's description before anything is built from it."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from difflut.layers import GroupSum, LayerConfig
from difflut.layers.shapes import as_shape
from difflut.registry import ENCODERS, INITIALIZERS, LAYERS, NODES, REGULARIZERS, Registry, UnknownComponentError

METADATA = ("name", "version", "timestamp", "description")
# For each annotation the types that it takes, and their name. To Python True is a number: here it is not.
KINDS = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    NoneType: ((NoneType,), "null"),
}
LAYER_SECTIONS = ("name", "type", "node_params", "layer_training", "node_init", "node_regularizers")


class ConfigError(ValueError):
    """A description of a network that cannot be built; the message begins with the path of the key."""


@contextmanager
def located(path: str) -> Iterator[None]:
    """Puts the path of a part of the description in front of the errors that building it raises."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def validate_config(config: Mapping[str, Any]) -> None:
    """Checks names, keys and sizes of a whole description.

    Raises:
        ConfigError: With the path of the first key that is wrong, such as `layers[1].node_params.degre`.
    """
    _mapping(config, "config")
    _known_keys(config, ("encoder", "layers", "groupsum", "seed", *METADATA), "")
    if type(config.get("seed", 0)) is not int:
        raise ConfigError(f"seed: must be a whole number, got {config['seed']!r}")
    if config.get("encoder") is not None:
        _validate_encoder(config["encoder"])
    layers = config.get("layers")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise ConfigError(f"layers: must be a list of at least one layer, got {layers!r}")
    names = ["encoder"]
    for i, layer in enumerate(layers):
        _validate_layer(layer, f"layers[{i}]", before=layers[i - 1] if i else None)
        _validate_reads(layer.get("reads"), f"layers[{i}].reads", names)
        name = layer.get("name") or str(i)
        if name in names:
            raise ConfigError(f"layers[{i}].name: {name!r} is the name of an earlier source; give it another")
        names.append(name)
    if config.get("groupsum") is not None:
        _validate_groupsum(config["groupsum"], _width(layers[-1]))
        _validate_reads(config["groupsum"].get("reads"), "groupsum.reads", names[1:])


def _validate_reads(reads: Any, path: str, names: Sequence[str]) -> None:
    if reads is None:
        return
    if isinstance(reads, str) or not isinstance(reads, Sequence) or not reads:
        raise ConfigError(f"{path}: must be a list of at least one name, got {reads!r}")
    for name in reads:
        if name not in names:
            raise ConfigError(f"{path}: {name!r} is no source before it; known: {', '.join(names)}")


def _width(layer: Mapping[str, Any]) -> int | None:
    """The outputs of a layer, where its description says them."""
    return None if layer.get("kernel_size") else layer.get("output_size")


def _validate_encoder(encoder: Any) -> None:
    _mapping(encoder, "encoder")
    _known_keys(encoder, ("type", "params"), "encoder.")
    encoder_class = _component(ENCODERS, encoder, "type", "encoder.")
    _arguments(encoder.get("params"), encoder_class, "encoder.params")


def _validate_layer(layer: Any, path: str, before: Mapping[str, Any] | None) -> None:
    _mapping(layer, path)
    layer_class = _component(LAYERS, layer, "type", f"{path}.")
    # The node's and the layer's configuration have sections of their own.
    parameters = set(inspect.signature(layer_class).parameters) - {"node_kwargs", "layer_config"}
    _known_keys(layer, (*LAYER_SECTIONS, *parameters), f"{path}.")
    size = layer.get("input_size")
    if size is None and not before:
        raise ConfigError(f"{path}.input_size: the first layer needs it: features, or [channels, height, width]")
    if size is not None:
        with located(path):
            as_shape(size, "input_size")
    if "output_size" in parameters and (not isinstance(layer.get("output_size"), int) or layer["output_size"] < 1):
        raise ConfigError(f"{path}.output_size: must be a positive integer, got {layer.get('output_size')!r}")
    _values(layer, layer_class, path)
    width = _width(before) if before else None
    if isinstance(size, int) and width and not layer.get("reads") and size != width:
        raise ConfigError(f"{path}.input_size: {size}, but the layer before has output_size {width}")
    _arguments(layer.get("layer_training"), LayerConfig, f"{path}.layer_training")
    if "node_type" in parameters:
        _validate_node(layer, path)


def _validate_node(layer: Mapping[str, Any], path: str) -> None:
    node_class = _component(NODES, layer, "node_type", f"{path}.")
    params = layer.get("node_params") or {}
    _arguments(params, node_class, f"{path}.node_params", besides=("width", "init_fn", "init_kwargs", "regularizers"))
    if "n" in layer and params.get("input_dim", layer["n"]) != layer["n"]:
        raise ConfigError(f"{path}.n: {layer['n']}, but node_params.input_dim is {params['input_dim']}")
    if layer.get("node_init"):
        _mapping(layer["node_init"], f"{path}.node_init")
        _known_keys(layer["node_init"], ("initializer", "init_kwargs"), f"{path}.node_init.")
        initializer = _component(INITIALIZERS, layer["node_init"], "initializer", f"{path}.node_init.")
        _arguments(layer["node_init"].get("init_kwargs"), initializer, f"{path}.node_init.init_kwargs")
    _validate_regularizers(layer.get("node_regularizers") or {}, f"{path}.node_regularizers")


def _validate_regularizers(regularizers: Any, path: str) -> None:
    if not isinstance(regularizers, Mapping):
        if isinstance(regularizers, str) or not isinstance(regularizers, Iterable):
            raise ConfigError(f"{path}: must be a list of names or a mapping, got {regularizers!r}")
        regularizers = dict.fromkeys(regularizers, 1.0)
    for label, value in regularizers.items():
        if isinstance(value, Mapping):
            _known_keys(value, ("type", "weight", "arguments"), f"{path}.{label}.")
            function = _component(REGULARIZERS, {"type": label} | dict(value), "type", f"{path}.{label}.")
            _arguments(value.get("arguments"), function, f"{path}.{label}.arguments")
        elif not isinstance(value, (int, float)):
            raise ConfigError(f"{path}.{label}: must be a weight or a mapping, got {value!r}")
        else:
            _component(REGULARIZERS, {label: label}, label, f"{path}.")


def _validate_groupsum(groupsum: Any, width: int | None) -> None:
    _arguments(groupsum, GroupSum, "groupsum")
    k = groupsum.get("k")
    if not isinstance(k, int) or k < 1 or (width is not None and width % k):
        raise ConfigError(f"groupsum.k: must be a divisor of the last layer's output_size={width}, got {k!r}")


def _mapping(value: Any, path: str) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: must be a mapping, got {value!r}")


def _known_keys(mapping: Mapping[str, Any], known: Iterable[str], path: str) -> None:
    known = sorted(known)
    for key in mapping:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"{path}{key}: unknown key; {hint}")


def _component(registry: Registry, mapping: Mapping[str, Any], key: str, path: str) -> Callable[..., Any]:
    if key not in mapping:
        raise ConfigError(f"{path}{key}: missing; known: {', '.join(registry)}")
    try:
        return registry[mapping[key]]
    except UnknownComponentError as error:
        raise ConfigError(f"{path}{key}: {error}") from error


def _arguments(params: Any, component: Callable[..., Any], path: str, besides: Sequence[str] = ()) -> None:
    """Checks that `params` are arguments by which the description may call a component."""
    if params is None:
        return
    _mapping(params, path)
    _known_keys(params, set(inspect.signature(component).parameters) - {*besides}, f"{path}.")
    _values(params, component, path)


def _values(values: Mapping[str, Any], component: Callable[..., Any], path: str) -> None:
    """Checks truth values, numbers and text against the annotations of a component's parameters."""
    for key, parameter in inspect.signature(component).parameters.items():
        annotation = parameter.annotation
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        texts = [text for kind in kinds if get_origin(kind) is Literal for text in get_args(kind)]
        kinds = tuple(kind for kind in kinds if get_origin(kind) is not Literal)
        if key not in values or not set(kinds) <= KINDS.keys():
            continue
        if values[key] not in texts and not any(type(values[key]) in KINDS[kind][0] for kind in kinds):
            words = " or ".join([*(KINDS[kind][1] for kind in kinds), *map(repr, texts)])
            raise ConfigError(f"{path}.{key}: must be {words}, got {values[key]!r}")
