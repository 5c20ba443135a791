"""The hard network as a value: what it is, what it may not be, how it is evaluated, kept and made from a network."""

from difflut.circuits.circuit.circuit import Circuit as Circuit
