// A table of N <= 6 inputs: a[j] is bit j of the address, INIT[address] the output. Written so that tools keep it whole:
// define DIFFLUT_XILINX for LUT6 primitives, DIFFLUT_YOSYS for Yosys' own (read_verilog -icells); otherwise it is plain.
module lut #(parameter N = 6, parameter [2**N-1:0] INIT = 0) (input [N-1:0] a, output y);
`ifdef DIFFLUT_YOSYS
    \$lut #(.WIDTH(N), .LUT(INIT)) table_ (.A(a), .Y(y));
`elsif DIFFLUT_XILINX
    wire [5:0] i = a;
    LUT6 #(.INIT({2**(6-N){INIT}})) table_ (.O(y), .I0(i[0]), .I1(i[1]), .I2(i[2]), .I3(i[3]), .I4(i[4]), .I5(i[5]));
`else
    assign y = INIT[a];
`endif
endmodule
