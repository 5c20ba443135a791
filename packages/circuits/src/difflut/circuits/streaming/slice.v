// A register in a stream.
module slice #(parameter N = 1) (
    input clk, input reset,
    input [N-1:0] s_data, input s_last, input s_valid, output s_ready,
    output reg [N-1:0] m_data, output reg m_last, output reg m_valid, input m_ready
);
    assign s_ready = !m_valid || m_ready;
    always @(posedge clk) begin
        if (s_ready && s_valid) {m_last, m_data} <= {s_last, s_data};
        if (reset) m_valid <= 0;
        else if (s_ready) m_valid <= s_valid;
    end
endmodule
