"""The kinds of component, and the names by which users reach them."""

from difflut.registry.registry import Registry

ENCODERS = Registry("encoder")
DETECTORS = Registry("detector")
NODES = Registry("node")
LAYERS = Registry("layer")
INITIALIZERS = Registry("initializer")
REGULARIZERS = Registry("regularizer")
OPTIMIZERS = Registry("optimizer")
SCHEDULES = Registry("schedule")
LOSSES = Registry("loss", plural="losses")
COSTS = Registry("cost")
AUGMENTATIONS = Registry("augmentation")
TEACHERS = Registry("teacher")
REFINEMENTS = Registry("refinement")
FORMATS = Registry("format")
DATASETS = Registry("dataset")
JOBS = Registry("job")

KINDS = (
    ENCODERS,
    DETECTORS,
    NODES,
    LAYERS,
    INITIALIZERS,
    REGULARIZERS,
    OPTIMIZERS,
    SCHEDULES,
    LOSSES,
    COSTS,
    AUGMENTATIONS,
    TEACHERS,
    REFINEMENTS,
    FORMATS,
    DATASETS,
    JOBS,
)

register_encoder, get_encoder_class, get_registered_encoders = ENCODERS.register, ENCODERS.__getitem__, ENCODERS.names
register_detector = DETECTORS.register
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
register_optimizer, register_schedule, register_loss = OPTIMIZERS.register, SCHEDULES.register, LOSSES.register
register_cost, register_augmentation, register_teacher = COSTS.register, AUGMENTATIONS.register, TEACHERS.register
register_refinement = REFINEMENTS.register
register_format, register_dataset, register_job = FORMATS.register, DATASETS.register, JOBS.register


class Components:
    """All kinds behind one object: `REGISTRY.get_node("dwn")`, `REGISTRY.list_layers()`, `REGISTRY.register_encoder`.

    Every kind has `register_<kind>(name)`, a decorator; `get_<kind>(name)`; and `list_<kind>s()`.
    """

    register_encoder, get_encoder, list_encoders = ENCODERS.register, ENCODERS.__getitem__, ENCODERS.names
    register_detector, get_detector, list_detectors = DETECTORS.register, DETECTORS.__getitem__, DETECTORS.names
    register_node, get_node, list_nodes = NODES.register, NODES.__getitem__, NODES.names
    register_layer, get_layer, list_layers = LAYERS.register, LAYERS.__getitem__, LAYERS.names
    register_initializer = INITIALIZERS.register
    get_initializer, list_initializers = INITIALIZERS.__getitem__, INITIALIZERS.names
    register_regularizer = REGULARIZERS.register
    get_regularizer, list_regularizers = REGULARIZERS.__getitem__, REGULARIZERS.names
    register_optimizer, get_optimizer, list_optimizers = OPTIMIZERS.register, OPTIMIZERS.__getitem__, OPTIMIZERS.names
    register_schedule, get_schedule, list_schedules = SCHEDULES.register, SCHEDULES.__getitem__, SCHEDULES.names
    register_loss, get_loss, list_losses = LOSSES.register, LOSSES.__getitem__, LOSSES.names
    register_augmentation = AUGMENTATIONS.register
    get_augmentation, list_augmentations = AUGMENTATIONS.__getitem__, AUGMENTATIONS.names
    register_cost, get_cost, list_costs = COSTS.register, COSTS.__getitem__, COSTS.names
    register_teacher, get_teacher, list_teachers = TEACHERS.register, TEACHERS.__getitem__, TEACHERS.names
    register_format, get_format, list_formats = FORMATS.register, FORMATS.__getitem__, FORMATS.names
    register_refinement = REFINEMENTS.register
    get_refinement, list_refinements = REFINEMENTS.__getitem__, REFINEMENTS.names
    register_dataset, get_dataset, list_datasets = DATASETS.register, DATASETS.__getitem__, DATASETS.names
    register_job, get_job, list_jobs = JOBS.register, JOBS.__getitem__, JOBS.names


REGISTRY = Components()
