"""Gives every component of the library its Gin name; nothing in the library itself knows of Gin.

`nodes.dwn`, `layers.random`, `encoders.gray`, `initializers.residual`, `regularizers.l2`; `optimizers.adam`,
`schedules.cosine`, `losses.distillation`, `augmentations.affine`, `teachers.trained`; `layers.LayerConfig`,
`layers.GroupSum`, `nodes.NodeConfig`, and `network`.
"""

import gin

from difflut.layers import GroupSum, LayerConfig
from difflut.models import network
from difflut.nodes import NodeConfig
from difflut.registry import KINDS
from difflut.training import AUGMENTATIONS, LOSSES, OPTIMIZERS, SCHEDULES, TEACHERS

FUNCTIONS = {
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
    "losses": LOSSES,
    "augmentations": AUGMENTATIONS,
    "teachers": TEACHERS,
}

for registry in KINDS:
    for name, component in registry.items():
        gin.register(name, module=f"{registry.kind}s")(component)
for kind, functions in FUNCTIONS.items():
    for function in functions:
        gin.register(function.__name__, module=kind)(function)
gin.register("LayerConfig", module="layers")(LayerConfig)
gin.register("GroupSum", module="layers")(GroupSum)
gin.register("NodeConfig", module="nodes")(NodeConfig)
gin.register(network)
