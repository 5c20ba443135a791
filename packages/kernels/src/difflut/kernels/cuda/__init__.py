"""The operations in CUDA for float32 tensors: see `contract.Backend`.

Tensors are handed to the kernels feature-major, as (features, batch). Nothing here waits for the device, except where a
wiring or candidates are prepared, once while they stay. Sums are done in an order that does not depend on timing, so
results are the same in every run.
"""

from difflut.kernels.cuda.dense_trees import Forest as Forest
from difflut.kernels.cuda.dense_trees import dense_tree_gradients as dense_tree_gradients
from difflut.kernels.cuda.dense_trees import dense_tree_outputs as dense_tree_outputs
from difflut.kernels.cuda.dense_trees import forest_of as forest_of
from difflut.kernels.cuda.dense_trees import tree_levels as tree_levels
from difflut.kernels.cuda.extension import multilinear as multilinear
from difflut.kernels.cuda.extension import multilinear_gradients as multilinear_gradients
from difflut.kernels.cuda.extremes import maximum as maximum
from difflut.kernels.cuda.extremes import maximum_gradient as maximum_gradient
from difflut.kernels.cuda.launching import available as available
from difflut.kernels.cuda.launching import launch as launch
from difflut.kernels.cuda.launching import ticket as ticket
from difflut.kernels.cuda.layout import SAMPLES as SAMPLES
from difflut.kernels.cuda.layout import feature_major as feature_major
from difflut.kernels.cuda.layout import pack as pack
from difflut.kernels.cuda.layout import padded as padded
from difflut.kernels.cuda.learned import BestInputs as BestInputs
from difflut.kernels.cuda.learned import best_inputs as best_inputs
from difflut.kernels.cuda.learned import signs as signs
from difflut.kernels.cuda.lookup_gradient import Upstream as Upstream
from difflut.kernels.cuda.lookup_gradient import chained_gradient as chained_gradient
from difflut.kernels.cuda.lookup_gradient import input_gradient as input_gradient
from difflut.kernels.cuda.lookup_gradient import lookup_input_gradient as lookup_input_gradient
from difflut.kernels.cuda.lookup_gradient import lookup_pin_gradient as lookup_pin_gradient
from difflut.kernels.cuda.lookup_gradient import lookup_table_gradient as lookup_table_gradient
from difflut.kernels.cuda.lookup_gradient import pin_gradient as pin_gradient
from difflut.kernels.cuda.lookup_gradient import spread as spread
from difflut.kernels.cuda.lookup_gradient import table_gradient as table_gradient
from difflut.kernels.cuda.lookups import empty_bits as empty_bits
from difflut.kernels.cuda.lookups import group_sum as group_sum
from difflut.kernels.cuda.lookups import lookup as lookup
from difflut.kernels.cuda.lookups import read_tables as read_tables
from difflut.kernels.cuda.selection import learned_gradients as learned_gradients
from difflut.kernels.cuda.selection import read as read
from difflut.kernels.cuda.selection import select as select
from difflut.kernels.cuda.selection import select_logits_gradient as select_logits_gradient
from difflut.kernels.cuda.selection import select_x_gradient as select_x_gradient
from difflut.kernels.cuda.series import fourier as fourier
from difflut.kernels.cuda.series import fourier_gradients as fourier_gradients
from difflut.kernels.cuda.trees import fits_tree as fits_tree
from difflut.kernels.cuda.trees import tree as tree
from difflut.kernels.cuda.trees import tree_gradients as tree_gradients
from difflut.kernels.cuda.wires import Wires as Wires
from difflut.kernels.cuda.wires import wires_of as wires_of

name = "cuda"
