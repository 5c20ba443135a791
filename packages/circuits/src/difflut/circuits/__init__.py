"""Trained networks as circuits: what evaluation computes, in arrays that hardware back ends start from."""

from difflut.circuits.circuit import Circuit as Circuit
from difflut.circuits.circuit import LUTLayer as LUTLayer
