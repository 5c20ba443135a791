// A table of N <= 6 inputs: a[j] is bit j of the address, INIT[address] the output. Tools keep it whole, and are seconds
// instead of minutes, with DIFFLUT_XILINX defined, for LUT6 primitives, or DIFFLUT_YOSYS, for Yosys' own (read_verilog
// -icells). Otherwise it is plain: a lookup for simulators, and the multiplexers that this comes to for synthesis.
module lut #(parameter N = 6, parameter [2**N-1:0] INIT = 0) (input [N-1:0] a, output y);
`ifdef DIFFLUT_YOSYS
    \$lut #(.WIDTH(N), .LUT(INIT)) table_ (.A(a), .Y(y));
`elsif DIFFLUT_XILINX
    wire [5:0] i = a;
    LUT6 #(.INIT({2**(6-N){INIT}})) table_ (.O(y), .I0(i[0]), .I1(i[1]), .I2(i[2]), .I3(i[3]), .I4(i[4]), .I5(i[5]));
`elsif SYNTHESIS
    wire [5:0] i = a;
    wire [31:0] t5 = i[5] ? {2**(6-N){INIT}} >> 32 : {2**(6-N){INIT}};
    wire [15:0] t4 = i[4] ? t5[31:16] : t5[15:0];
    wire [7:0] t3 = i[3] ? t4[15:8] : t4[7:0];
    wire [3:0] t2 = i[2] ? t3[7:4] : t3[3:0];
    wire [1:0] t1 = i[1] ? t2[3:2] : t2[1:0];
    assign y = i[0] ? t1[1] : t1[0];
`else
    assign y = INIT[a];
`endif
endmodule
