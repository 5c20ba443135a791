"""The operations in C++ for float32 tensors on the CPU: see `contract.Backend`.

Tensors are handed to the kernels feature-major, as (features, batch), so that the batch is the fast axis.
"""

from difflut.kernels.cpp.binarizing import binarize as binarize
from difflut.kernels.cpp.calling import available as available
from difflut.kernels.cpp.extension import multilinear as multilinear
from difflut.kernels.cpp.extension import multilinear_gradients as multilinear_gradients
from difflut.kernels.cpp.extremes import maximum as maximum
from difflut.kernels.cpp.extremes import maximum_gradient as maximum_gradient
from difflut.kernels.cpp.hard_graph import look_up_graph as look_up_graph
from difflut.kernels.cpp.hard_graph import passed_back as passed_back
from difflut.kernels.cpp.hard_graph import sum_of as sum_of
from difflut.kernels.cpp.layout import feature_major as feature_major
from difflut.kernels.cpp.layout import is_binary as is_binary
from difflut.kernels.cpp.lookups import lookup as lookup
from difflut.kernels.cpp.lookups import lookup_input_gradient as lookup_input_gradient
from difflut.kernels.cpp.lookups import lookup_pin_gradient as lookup_pin_gradient
from difflut.kernels.cpp.lookups import lookup_table_gradient as lookup_table_gradient
from difflut.kernels.cpp.lookups import table_gradient as table_gradient
from difflut.kernels.cpp.recording import Recording as Recording
from difflut.kernels.cpp.recording import as_a_whole as as_a_whole
from difflut.kernels.cpp.recording import by_notes as by_notes
from difflut.kernels.cpp.recording import cannot_repeat as cannot_repeat
from difflut.kernels.cpp.selection import FACTORED_BATCH as FACTORED_BATCH
from difflut.kernels.cpp.selection import best_inputs as best_inputs
from difflut.kernels.cpp.selection import chosen as chosen
from difflut.kernels.cpp.selection import dense_logits_gradient as dense_logits_gradient
from difflut.kernels.cpp.selection import learned_gradients as learned_gradients
from difflut.kernels.cpp.selection import read as read
from difflut.kernels.cpp.selection import select as select
from difflut.kernels.cpp.selection import select_logits_gradient as select_logits_gradient
from difflut.kernels.cpp.selection import select_x_gradient as select_x_gradient
from difflut.kernels.cpp.series import fourier as fourier
from difflut.kernels.cpp.series import fourier_gradients as fourier_gradients
from difflut.kernels.cpp.steps import by_sample as by_sample
from difflut.kernels.cpp.steps import choose as choose
from difflut.kernels.cpp.steps import cross_entropy_gradient as cross_entropy_gradient
from difflut.kernels.cpp.updates import adam as adam
from difflut.kernels.cpp.updates import select_adam as select_adam

name = "cpp"
