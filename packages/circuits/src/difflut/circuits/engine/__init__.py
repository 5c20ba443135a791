"""Circuits run fast, many samples to a machine word: from pixels or floats to classes, on a CPU or a GPU."""

from difflut.circuits.engine.engine import Engine as Engine
from difflut.circuits.engine.engine import make_engine as make_engine
