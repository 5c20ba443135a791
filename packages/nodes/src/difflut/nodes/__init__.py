"""Node types: banks of learned functions of n bits, and their initializers and regularizers.

Every module of this folder is imported here, so a node type joins by lying in it.
"""

import sys

from difflut.nodes.extension import Extension as Extension
from difflut.nodes.given_table import GivenMaximum as GivenMaximum
from difflut.nodes.given_table import GivenTable as GivenTable
from difflut.nodes.hard_lookup import HardLookup as HardLookup
from difflut.nodes.node import Node as Node
from difflut.nodes.node import as_features as as_features
from difflut.nodes.node import takes_choices as takes_choices
from difflut.nodes.node_config import NodeConfig as NodeConfig
from difflut.nodes.relaxation import Relaxable as Relaxable
from difflut.nodes.relaxation import freeze as freeze
from difflut.nodes.relaxation import relaxed as relaxed
from difflut.registry import import_submodules

import_submodules(sys.modules[__name__])
