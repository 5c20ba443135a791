// Two tables of the same five inputs: INIT[31:0] is that of o5, INIT[63:32] that of o6. On Xilinx devices, with
// DIFFLUT_XILINX defined, this is one LUT6_2.
module lut_pair #(parameter [63:0] INIT = 0) (input [4:0] a, output o5, o6);
`ifdef DIFFLUT_XILINX
    LUT6_2 #(.INIT(INIT)) table_ (.O5(o5), .O6(o6), .I0(a[0]), .I1(a[1]), .I2(a[2]), .I3(a[3]), .I4(a[4]), .I5(1'b1));
`else
    lut #(.N(5), .INIT(INIT[31:0])) low_ (.a(a), .y(o5));
    lut #(.N(5), .INIT(INIT[63:32])) high_ (.a(a), .y(o6));
`endif
endmodule
