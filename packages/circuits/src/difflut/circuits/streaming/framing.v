// Makes images of N pixels: one that ends early is filled up with zeros, and what is beyond N pixels is left out.
module framing #(parameter D = 8, N = 1) (
    input clk, input reset,
    input [D-1:0] s_data, input s_last, input s_valid, output s_ready,
    output [D-1:0] m_data, output m_last, output m_valid, input m_ready
);
    localparam BITS = $clog2(N) + 1;
    reg filling, dropping;
    reg [BITS-1:0] at;
    assign m_data = filling ? 0 : s_data;
    assign m_last = at == N - 1;
    assign m_valid = !dropping && (filling || s_valid);
    assign s_ready = dropping || (!filling && m_ready);
    always @(posedge clk)
        if (reset) {filling, dropping, at} <= 0;
        else if (dropping) dropping <= !(s_valid && s_last);
        else if (m_valid && m_ready) begin
            at <= m_last ? 0 : at + 1;
            filling <= !m_last && (filling || s_last);
            dropping <= m_last && !filling && !s_last;
        end
endmodule
