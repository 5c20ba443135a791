// A carry chain of N positions: position i adds 1 where one[i], else 2 where two[i], and what the one below carries into
// it, ci for the lowest; o are the digits of the sum, co is carried out. On Xilinx devices, with DIFFLUT_XILINX defined,
// it is a CARRY4 for every four positions.
module carry #(parameter N = 4) (input ci, input [N-1:0] one, two, output [N-1:0] o, output co);
    genvar i;
`ifdef DIFFLUT_XILINX
    localparam M = (N + 3) / 4;
    wire [4*M-1:0] s = one, d = two;
    wire [4*M-1:0] sums, carries;
    generate
        for (i = 0; i < M; i = i + 1) begin : part
            if (i == 0)
                CARRY4 carry4 (.CI(1'b0), .CYINIT(ci), .DI(d[3:0]), .S(s[3:0]), .O(sums[3:0]), .CO(carries[3:0]));
            else
                CARRY4 carry4 (.CI(carries[4*i-1]), .CYINIT(1'b0), .DI(d[4*i +: 4]), .S(s[4*i +: 4]),
                               .O(sums[4*i +: 4]), .CO(carries[4*i +: 4]));
        end
    endgenerate
    assign o = sums, co = carries[N-1];
`else
    wire [N:0] c;
    assign c[0] = ci, co = c[N];
    generate
        for (i = 0; i < N; i = i + 1) begin : part
            lut #(.N(2), .INIT(4'b0110)) sum_ (.a({c[i], one[i]}), .y(o[i]));
            lut #(.N(3), .INIT(8'b11001010)) carry_ (.a({one[i], c[i], two[i]}), .y(c[i+1]));
        end
    endgenerate
`endif
endmodule
