"""Formats of other tools, each a function that writes a circuit to one file; its registered name is the file's ending.

It is called with the circuit, the path of the file, whose stem names the model or entity in it, and the words that
features are where the format has whole numbers; it returns the path. Every module of this folder is imported here, so
a format joins by lying in it.
"""

import sys

from difflut.circuits.formats.aiger import write_aag as write_aag
from difflut.circuits.formats.aiger import write_aig as write_aig
from difflut.circuits.formats.blif_file import write_blif as write_blif
from difflut.circuits.formats.json_file import write_json as write_json
from difflut.circuits.formats.onnx_file import write_onnx as write_onnx
from difflut.circuits.formats.vhdl import write_vhdl as write_vhdl
from difflut.registry import import_submodules

import_submodules(sys.modules[__name__])
