"""The few operations behind every LUT layer, each with a torch reference and compiled back ends chosen by device.

    from difflut import kernels

    y = kernels.multilinear(x, wiring, table)       # (batch, features), (L, n), (L, m, 2**n) -> (batch, L * m)

A wiring may have placements: then its nodes stand at every window of an image, with the same tables (a convolution).

Nothing is compiled on import. The first call on a device compiles its kernels once; where that is impossible, one line
on stderr says why, and the torch reference is used.
"""

from difflut.kernels.adam import Adam as Adam
from difflut.kernels.backends import backend_for as backend_for
from difflut.kernels.backends import use_backend as use_backend
from difflut.kernels.binarizing import binarize as binarize
from difflut.kernels.bits import Bits as Bits
from difflut.kernels.bits import holds_bits as holds_bits
from difflut.kernels.bits import mark_bits as mark_bits
from difflut.kernels.chain import multilinear_chain as multilinear_chain
from difflut.kernels.choice import Choice as Choice
from difflut.kernels.cpp.recording import Recording as Recording
from difflut.kernels.cpp.recording import as_a_whole as as_a_whole
from difflut.kernels.cpp.recording import by_notes as by_notes
from difflut.kernels.cpp.recording import may_look as may_look
from difflut.kernels.extension import multilinear as multilinear
from difflut.kernels.extremes import maximum as maximum
from difflut.kernels.gates import gate_table as gate_table
from difflut.kernels.gates import gate_tables as gate_tables
from difflut.kernels.gathering import gather as gather
from difflut.kernels.gathering import side_by_side as side_by_side
from difflut.kernels.grouping import group_sum as group_sum
from difflut.kernels.hard_banks import Bank as Bank
from difflut.kernels.hard_banks import HardBank as HardBank
from difflut.kernels.hard_banks import LearnedBank as LearnedBank
from difflut.kernels.hard_banks import Maximum as Maximum
from difflut.kernels.hard_graph import lookup_graph as lookup_graph
from difflut.kernels.learned import learned_lookup as learned_lookup
from difflut.kernels.lookups import are_bits as are_bits
from difflut.kernels.lookups import lookup as lookup
from difflut.kernels.mixing import mix as mix
from difflut.kernels.placements import PlacedWiring as PlacedWiring
from difflut.kernels.placements import Placements as Placements
from difflut.kernels.placements import Wiring as Wiring
from difflut.kernels.placements import own_inputs as own_inputs
from difflut.kernels.placements import placed as placed
from difflut.kernels.precision import in_full_precision as in_full_precision
from difflut.kernels.selection import best_inputs as best_inputs
from difflut.kernels.selection import select as select
from difflut.kernels.selection import straight_through as straight_through
from difflut.kernels.series import fourier as fourier
from difflut.kernels.step import PackedRows as PackedRows
from difflut.kernels.step import cross_entropy_gradient as cross_entropy_gradient
from difflut.kernels.tracing import untraced as untraced
from difflut.kernels.tree import multilinear_tree as multilinear_tree
