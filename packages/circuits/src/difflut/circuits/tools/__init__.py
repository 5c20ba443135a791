"""Programs of others, run on what was written: compilers, simulators, Yosys, ABC and nextpnr."""
