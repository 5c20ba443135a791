"""Names for the components of LUT networks.

from difflut.registry import REGISTRY, register_node

@register_node("majority")
class Majority(Node): ...

REGISTRY.get_node("majority")
"""

from difflut.registry.arguments import ArgumentError as ArgumentError
from difflut.registry.arguments import check_call as check_call
from difflut.registry.arguments import checked as checked
from difflut.registry.arguments import checked_constructor as checked_constructor
from difflut.registry.components import AUGMENTATIONS as AUGMENTATIONS
from difflut.registry.components import COSTS as COSTS
from difflut.registry.components import DATASETS as DATASETS
from difflut.registry.components import DETECTORS as DETECTORS
from difflut.registry.components import ENCODERS as ENCODERS
from difflut.registry.components import FORMATS as FORMATS
from difflut.registry.components import INITIALIZERS as INITIALIZERS
from difflut.registry.components import JOBS as JOBS
from difflut.registry.components import KINDS as KINDS
from difflut.registry.components import LAYERS as LAYERS
from difflut.registry.components import LOSSES as LOSSES
from difflut.registry.components import NODES as NODES
from difflut.registry.components import OPTIMIZERS as OPTIMIZERS
from difflut.registry.components import REFINEMENTS as REFINEMENTS
from difflut.registry.components import REGISTRY as REGISTRY
from difflut.registry.components import REGULARIZERS as REGULARIZERS
from difflut.registry.components import SCHEDULES as SCHEDULES
from difflut.registry.components import TEACHERS as TEACHERS
from difflut.registry.components import get_encoder_class as get_encoder_class
from difflut.registry.components import get_initializer as get_initializer
from difflut.registry.components import get_layer_class as get_layer_class
from difflut.registry.components import get_node_class as get_node_class
from difflut.registry.components import get_registered_encoders as get_registered_encoders
from difflut.registry.components import get_registered_initializers as get_registered_initializers
from difflut.registry.components import get_registered_layers as get_registered_layers
from difflut.registry.components import get_registered_nodes as get_registered_nodes
from difflut.registry.components import get_registered_regularizers as get_registered_regularizers
from difflut.registry.components import get_regularizer as get_regularizer
from difflut.registry.components import register_augmentation as register_augmentation
from difflut.registry.components import register_cost as register_cost
from difflut.registry.components import register_dataset as register_dataset
from difflut.registry.components import register_detector as register_detector
from difflut.registry.components import register_encoder as register_encoder
from difflut.registry.components import register_format as register_format
from difflut.registry.components import register_initializer as register_initializer
from difflut.registry.components import register_job as register_job
from difflut.registry.components import register_layer as register_layer
from difflut.registry.components import register_loss as register_loss
from difflut.registry.components import register_node as register_node
from difflut.registry.components import register_optimizer as register_optimizer
from difflut.registry.components import register_refinement as register_refinement
from difflut.registry.components import register_regularizer as register_regularizer
from difflut.registry.components import register_schedule as register_schedule
from difflut.registry.components import register_teacher as register_teacher
from difflut.registry.configured import Configured as Configured
from difflut.registry.discovery import import_submodules as import_submodules
from difflut.registry.registry import Registry as Registry
from difflut.registry.registry import UnknownComponentError as UnknownComponentError
from difflut.registry.registry import closest as closest
from difflut.registry.registry import similar as similar
