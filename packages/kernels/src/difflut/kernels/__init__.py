"""The few operations behind every LUT layer, each with a torch reference and compiled back ends chosen by device.

    from difflut import kernels

    y = kernels.multilinear(x, wiring, table)       # (batch, features), (L, n), (L, m, 2**n) -> (batch, L * m)

Nothing is compiled on import. The first call on a device compiles its kernels once; where that is impossible, one line
on stderr says why, and the torch reference is used.
"""

from difflut.kernels.backends import backend_for as backend_for
from difflut.kernels.backends import use_backend as use_backend
from difflut.kernels.lookup import lookup as lookup
from difflut.kernels.multilinear import multilinear as multilinear
from difflut.kernels.select import select as select
from difflut.kernels.select import straight_through as straight_through
