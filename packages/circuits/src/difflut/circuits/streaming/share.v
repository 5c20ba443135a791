// A stream given to N readers, each of which takes it when it is ready.
module share #(parameter N = 2) (
    input clk, input reset,
    input s_valid, output s_ready,
    output [N-1:0] m_valid, input [N-1:0] m_ready
);
    reg [N-1:0] taken;
    assign m_valid = {N{s_valid}} & ~taken;
    assign s_ready = &(taken | m_ready);
    always @(posedge clk)
        if (reset || s_ready) taken <= 0;
        else taken <= taken | (m_valid & m_ready);
endmodule
