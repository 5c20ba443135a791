"""Circuits as text: C, Verilog with its testbench, and BLIF for proofs."""
