"""Gives every component of the library its Gin name; nothing in the library itself knows of Gin.

`nodes.dwn`, `layers.random`, `encoders.gray`, `initializers.residual`, `regularizers.l2`; `optimizers.adam`,
`schedules.cosine`; `layers.LayerConfig`, `nodes.NodeConfig`, and `network`.
"""

import gin

from difflut.layers import LayerConfig
from difflut.models import network
from difflut.nodes import NodeConfig
from difflut.registry import KINDS
from difflut.training import OPTIMIZERS, SCHEDULES

for registry in KINDS:
    for name, component in registry.items():
        gin.register(name, module=f"{registry.kind}s")(component)
for optimizer in OPTIMIZERS:
    gin.register(optimizer.__name__, module="optimizers")(optimizer)
for schedule in SCHEDULES:
    gin.register(schedule.__name__, module="schedules")(schedule)
gin.register("LayerConfig", module="layers")(LayerConfig)
gin.register("NodeConfig", module="nodes")(NodeConfig)
gin.register(network)
