"""A network as C and Verilog, compared with what was trained, counted, proven and placed."""
