"""Trained networks as circuits: what evaluation computes, in arrays that hardware back ends start from."""

from difflut.circuits.arithmetic.cost import Cost as Cost
from difflut.circuits.arithmetic.cost import estimate_cost as estimate_cost
from difflut.circuits.arithmetic.words import InputWords as InputWords
from difflut.circuits.arithmetic.words import fixed_point_words as fixed_point_words
from difflut.circuits.arithmetic.words import pixel_words as pixel_words
from difflut.circuits.circuit import Circuit as Circuit
from difflut.circuits.passes.simplify import Report as Report
from difflut.circuits.passes.simplify import simplify as simplify
from difflut.circuits.tools.compiled import CompiledCircuit as CompiledCircuit
from difflut.circuits.tools.place import Placement as Placement
from difflut.circuits.tools.place import place as place
from difflut.circuits.tools.prove import prove as prove
from difflut.circuits.tools.simulate import Simulation as Simulation
from difflut.circuits.tools.simulate import simulate as simulate
from difflut.circuits.tools.synthesis import Mapped as Mapped
from difflut.circuits.tools.synthesis import synthesize as synthesize
from difflut.circuits.writers.c_source import write_c as write_c
from difflut.circuits.writers.json_file import write_json as write_json
from difflut.circuits.writers.testbench import write_testbench as write_testbench
from difflut.circuits.writers.verilog import Design as Design
from difflut.circuits.writers.verilog import stages as stages
from difflut.circuits.writers.verilog import write_verilog as write_verilog
