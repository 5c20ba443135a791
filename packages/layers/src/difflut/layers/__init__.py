"""Layers: wiring in front of banks of nodes, and the group sum behind them."""

import sys

from difflut.layers.drawn import Drawn as Drawn
from difflut.layers.group_sum import GroupSum as GroupSum
from difflut.layers.hard import HardLayer as HardLayer
from difflut.layers.layer import Layer as Layer
from difflut.layers.layer_config import LayerConfig as LayerConfig
from difflut.layers.wiring import random_wiring as random_wiring
from difflut.registry import import_submodules

import_submodules(sys.modules[__name__])
