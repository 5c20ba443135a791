"""Networks that other libraries trained, as circuits with the same outputs: a module for each library."""

from difflut.circuits.imports.difflogic import from_difflogic as from_difflogic
from difflut.circuits.imports.torch_dwn import from_torch_dwn as from_torch_dwn
from difflut.circuits.imports.torchlogix import from_torchlogix as from_torchlogix
