// A stream that waits for another one: at most DEPTH pixels, the first of them in a register.
module queue #(parameter N = 1, DEPTH = 2) (
    input clk, input reset,
    input [N-1:0] s_data, input s_last, input s_valid, output s_ready,
    output reg [N-1:0] m_data, output reg m_last, output reg m_valid, input m_ready
);
    localparam BITS = $clog2(DEPTH) + 1;
    reg [N:0] memory [0:DEPTH-1];
    reg [BITS-1:0] first, next, waiting;
    wire free = !m_valid || m_ready;
    wire through = waiting == 0;
    wire put = s_valid && s_ready && !(through && free);
    wire get = !through && free;
    assign s_ready = waiting < DEPTH;
    always @(posedge clk) begin
        if (put) memory[next] <= {s_last, s_data};
        if (free) {m_last, m_data} <= through ? {s_last, s_data} : memory[first];
        if (reset) {first, next, waiting, m_valid} <= 0;
        else begin
            if (put) next <= next == DEPTH - 1 ? 0 : next + 1;
            if (get) first <= first == DEPTH - 1 ? 0 : first + 1;
            waiting <= waiting + put - get;
            if (free) m_valid <= !through || s_valid;
        end
    end
endmodule
