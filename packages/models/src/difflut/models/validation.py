"""Checking a network's description before anything is built from it: its names and keys.

Components check the values of their arguments, and whether they fit together, when they are made.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from difflut.layers import GroupSum, LayerConfig
from difflut.registry import ENCODERS, INITIALIZERS, LAYERS, NODES, REGULARIZERS, Registry, UnknownComponentError

METADATA = ("name", "version", "timestamp", "description")
LAYER_SECTIONS = ("name", "type", "layer_training")
NODE_SECTIONS = ("node_params", "node_init", "node_regularizers")


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
    """Checks the names and keys of a whole description.

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
    for i, layer in enumerate(layers):
        _validate_layer(layer, f"layers[{i}]", is_first=not i)
    if config.get("groupsum") is not None:
        _arguments(config["groupsum"], GroupSum, "groupsum")


def _validate_encoder(encoder: Any) -> None:
    _mapping(encoder, "encoder")
    _known_keys(encoder, ("type", "params"), "encoder.")
    encoder_class = _component(ENCODERS, encoder, "type", "encoder.")
    _arguments(encoder.get("params"), encoder_class, "encoder.params")


def _validate_layer(layer: Any, path: str, is_first: bool) -> None:
    _mapping(layer, path)
    layer_class = _component(LAYERS, layer, "type", f"{path}.")
    # The node's and the layer's configuration have sections of their own.
    parameters = set(inspect.signature(layer_class).parameters) - {"node_kwargs", "layer_config"}
    sections = (*LAYER_SECTIONS, *NODE_SECTIONS) if "node_type" in parameters else LAYER_SECTIONS
    _known_keys(layer, (*sections, *parameters), f"{path}.")
    if is_first and layer.get("input_size") is None:
        raise ConfigError(f"{path}.input_size: the first layer needs it: features, or [channels, height, width]")
    _arguments(layer.get("layer_training"), LayerConfig, f"{path}.layer_training")
    if "node_type" in parameters:
        _validate_node(layer, path)


def _validate_node(layer: Mapping[str, Any], path: str) -> None:
    node_class = _component(NODES, layer, "node_type", f"{path}.")
    own = ("width", "init_fn", "init_kwargs", "regularizers")  # these have sections of their own, or follow
    _arguments(layer.get("node_params"), node_class, f"{path}.node_params", besides=own)
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
        return registry[str(mapping[key])]
    except UnknownComponentError as error:
        raise ConfigError(f"{path}{key}: {error}; if it is one of your own, import its module first") from error


def _arguments(params: Any, component: Callable[..., Any], path: str, besides: Sequence[str] = ()) -> None:
    """Checks that `params` are arguments by which the description may call a component."""
    if params is None:
        return
    _mapping(params, path)
    _known_keys(params, set(inspect.signature(component).parameters) - {*besides}, f"{path}.")
