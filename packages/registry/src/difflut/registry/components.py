"""The five kinds of component, and the names by which users reach them."""

from difflut.registry.registry import Registry

ENCODERS = Registry("encoder")
NODES = Registry("node")
LAYERS = Registry("layer")
INITIALIZERS = Registry("initializer")
REGULARIZERS = Registry("regularizer")

KINDS = (ENCODERS, NODES, LAYERS, INITIALIZERS, REGULARIZERS)

register_encoder, get_encoder_class, get_registered_encoders = ENCODERS.register, ENCODERS.__getitem__, ENCODERS.names
register_node, get_node_class, get_registered_nodes = NODES.register, NODES.__getitem__, NODES.names
register_layer, get_layer_class, get_registered_layers = LAYERS.register, LAYERS.__getitem__, LAYERS.names
register_initializer, get_initializer, get_registered_initializers = (
    INITIALIZERS.register,
    INITIALIZERS.__getitem__,
    INITIALIZERS.names,
)
register_regularizer, get_regularizer, get_registered_regularizers = (
    REGULARIZERS.register,
    REGULARIZERS.__getitem__,
    REGULARIZERS.names,
)


class Components:
    """All kinds behind one object: `REGISTRY.get_node("dwn")`, `REGISTRY.list_layers()`, `REGISTRY.register_encoder`.

    Every kind has `register_<kind>(name)`, a decorator; `get_<kind>(name)`; and `list_<kind>s()`.
    """

    register_encoder, get_encoder, list_encoders = ENCODERS.register, ENCODERS.__getitem__, ENCODERS.names
    register_node, get_node, list_nodes = NODES.register, NODES.__getitem__, NODES.names
    register_layer, get_layer, list_layers = LAYERS.register, LAYERS.__getitem__, LAYERS.names
    register_initializer = INITIALIZERS.register
    get_initializer, list_initializers = INITIALIZERS.__getitem__, INITIALIZERS.names
    register_regularizer = REGULARIZERS.register
    get_regularizer, list_regularizers = REGULARIZERS.__getitem__, REGULARIZERS.names


REGISTRY = Components()
