"""Trained networks as circuits: what evaluation computes, in arrays that hardware back ends start from."""

from difflut.circuits.c_source import write_c as write_c
from difflut.circuits.circuit import Circuit as Circuit
from difflut.circuits.compiled import CompiledCircuit as CompiledCircuit
from difflut.circuits.simplify import Report as Report
from difflut.circuits.simplify import simplify as simplify
from difflut.circuits.simulate import Simulation as Simulation
from difflut.circuits.simulate import simulate as simulate
from difflut.circuits.simulate import write_testbench as write_testbench
from difflut.circuits.synthesis import count_luts as count_luts
from difflut.circuits.verilog import Design as Design
from difflut.circuits.verilog import write_verilog as write_verilog
from difflut.circuits.words import InputWords as InputWords
from difflut.circuits.words import fixed_point_words as fixed_point_words
from difflut.circuits.words import pixel_words as pixel_words
