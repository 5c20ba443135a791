"""Trained networks as circuits: what evaluation computes, in arrays that hardware back ends start from."""

from difflut.circuits.c_source import write_c as write_c
from difflut.circuits.circuit import Circuit as Circuit
from difflut.circuits.compiled import CompiledCircuit as CompiledCircuit
from difflut.circuits.cost import Cost as Cost
from difflut.circuits.cost import estimate_cost as estimate_cost
from difflut.circuits.place import Placement as Placement
from difflut.circuits.place import place as place
from difflut.circuits.prove import prove as prove
from difflut.circuits.simplify import Report as Report
from difflut.circuits.simplify import simplify as simplify
from difflut.circuits.simulate import Simulation as Simulation
from difflut.circuits.simulate import simulate as simulate
from difflut.circuits.simulate import write_testbench as write_testbench
from difflut.circuits.synthesis import Mapped as Mapped
from difflut.circuits.synthesis import synthesize as synthesize
from difflut.circuits.verilog import Design as Design
from difflut.circuits.verilog import stages as stages
from difflut.circuits.verilog import write_verilog as write_verilog
from difflut.circuits.words import InputWords as InputWords
from difflut.circuits.words import fixed_point_words as fixed_point_words
from difflut.circuits.words import pixel_words as pixel_words
