"""Circuits as text: C, Verilog with its testbench, BLIF and JSON."""
