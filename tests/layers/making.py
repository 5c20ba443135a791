"""Any layer type, made with those of the usual arguments that it takes."""

from inspect import Parameter, signature

from difflut.registry import LAYERS, NODES

WIRED = [name for name in LAYERS if "output_size" in signature(LAYERS[name]).parameters]  # they draw or learn wiring


def make_layer(layer_type, node_type="dwn_stable", shape=(12, 2, 2), **options):
    """A layer of about 30 nodes of n = 4 that reads an image, or half of it twice where it must have two sources."""
    kind = LAYERS[layer_type] if isinstance(layer_type, str) else layer_type
    parameters = signature(kind).parameters
    given = {
        "input_size": shape,
        "output_size": 30,
        "node_type": NODES[node_type] if isinstance(node_type, str) else node_type,
        "n": 4,
        "seed": 3,
    } | options
    if parameters.get("reads", Parameter("reads", Parameter.KEYWORD_ONLY, default=None)).default is Parameter.empty:
        half = (shape[0] // 2, *shape[1:])
        given |= {"input_size": {"a": half, "b": half}, "reads": ["a", "b"]}
    return kind(**{name: value for name, value in given.items() if name in parameters})


def needs_image(layer_type):
    """Whether it has windows without being asked for them."""
    kernel = signature(LAYERS[layer_type]).parameters.get("kernel_size")
    return kernel is not None and kernel.default is not None
