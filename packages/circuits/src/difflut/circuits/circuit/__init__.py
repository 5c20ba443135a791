"""The hard network as a value: its arrays and their checks, evaluation, files, and how a network becomes one."""

from difflut.circuits.circuit.circuit import Circuit as Circuit
