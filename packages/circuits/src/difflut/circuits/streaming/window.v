// The windows of images that come pixel by pixel, row after row: what lies outside of an image is 0 or, with EDGE, the
// pixel of its border that is nearest. One pixel a clock goes in; a window leaves one clock after its last pixel.
//
// Windows of KH x KW pixels of C bits stand every SH lines and SW columns, in an image of H lines of W pixels with PH
// lines and PW columns around it. Bit c of the pixel in line r and column j of a window is m_data[(r * KW + j) *
// C + c].
//
// Where an image is followed at once by the next, its pixels push out the last windows. Otherwise empty pixels do, and
// s_ready is 0 until they have.
module window #(
    parameter C = 1, H = 1, W = 1, KH = 1, KW = 1, SH = 1, SW = 1, PH = 0, PW = 0, EDGE = 0,
    parameter STYLE = "distributed"  // what the memory of lines is made of, or "block"
) (
    input clk, input reset,
    input [C-1:0] s_data, input s_last, input s_valid, output s_ready,
    output reg [C*KH*KW-1:0] m_data, output reg m_last, output reg m_valid, input m_ready
);
    localparam BELOW = KH - 1 - PH, RIGHT = KW - 1 - PW;  // of a window's pixel (PH, PW), its centre
    localparam LAST_Y = (H + 2 * PH - KH) / SH * SH, LAST_X = (W + 2 * PW - KW) / SW * SW;  // the last window's centre
    localparam LATE = (LAST_Y + BELOW) * W + LAST_X + RIGHT > H * W - 1;  // whether it waits for pixels after the image
    localparam YBITS = $clog2(H > BELOW ? H : BELOW) + 1, XBITS = $clog2(W) + 1;

    reg ended, flushing;
    wire free = !m_valid || m_ready;
    assign s_ready = free && !flushing;
    wire pixel = s_valid && s_ready;
    wire step = pixel || (flushing && free);

    // Where the pixel of line PH of the last column is. The first lines of the first image are below it.
    reg begun;
    reg [YBITS-1:0] line;
    reg [XBITS-1:0] column;
    wire end_of_line = column == W - 1;
    wire end_of_lines = line == (begun ? H : BELOW) - 1;

    // Where the centre of the window in the registers is, and where that of the next one is.
    reg on;  // the image
    reg [YBITS-1:0] y;
    reg [XBITS-1:0] x;
    wire first = begun && line == 0 && column == RIGHT;
    wire last_column = x == W - 1;
    wire next_on = first || (on && !(last_column && y == H - 1));
    wire [YBITS-1:0] next_y = first ? 0 : last_column ? y + 1 : y;
    wire [XBITS-1:0] next_x = first || last_column ? 0 : x + 1;
    wire stands = next_on && next_y <= LAST_Y && next_y % SH == 0 && next_x <= LAST_X && next_x % SW == 0;
    wire last = stands && next_y == LAST_Y && next_x == LAST_X;

    always @(posedge clk)
        if (reset) begin
            {m_valid, ended, flushing, on, line, column, y, x} <= 0;
            begun <= BELOW == 0;
        end else begin
            if (step) begin
                m_valid <= stands;
                m_last <= last;
                {on, y, x} <= {next_on, next_y, next_x};
                column <= end_of_line ? 0 : column + 1;
                if (end_of_line) begin
                    line <= end_of_lines ? 0 : line + 1;
                    begun <= begun || end_of_lines;
                end
            end else if (m_ready) m_valid <= 0;
            if (pixel) ended <= s_last && LATE;
            else if (flushing && step && last) begin
                {ended, flushing, on, line, column} <= 0;
                begun <= BELOW == 0;
            end else if (ended && !s_valid) flushing <= 1;
        end

    // The pixels of the last column: those of the lines before come from a memory, whose words move up a line each time.
    wire [C*KH-1:0] pixels;
    generate
        if (KH > 1) begin : lines
            (* no_rw_check, ram_style = STYLE *) reg [C*(KH-1)-1:0] memory [0:W-1];
            reg [C*(KH-1)-1:0] above;
            reg [XBITS-1:0] at;
            wire [XBITS-1:0] next_at = at == W - 1 ? 0 : at + 1;
            assign pixels = {s_data, above};
            always @(posedge clk)
                if (reset) at <= 0;
                else if (step) begin
                    memory[at] <= pixels[C*KH-1:C];
                    above <= memory[next_at];
                    at <= next_at;
                end
        end else begin : line_alone
            assign pixels = s_data;
        end
    endgenerate

    // Lines above and below the image.
    reg [C*KH-1:0] newest;
    always @* begin : lines_outside
        integer r;
        newest = pixels;
        for (r = PH + 1; r < KH; r = r + 1)
            if (LAST_Y + r >= H + PH && line + r >= H + PH) newest[C*r +: C] = EDGE ? newest[C*(r-1) +: C] : 0;
        for (r = PH - 1; r >= 0; r = r - 1)
            if (line + r < PH) newest[C*r +: C] = EDGE ? newest[C*(r+1) +: C] : 0;
    end

    // The columns move to the left; those left of the image are set as its first one comes to the centre.
    reg [C*KH*KW-1:0] bits, moved;
    always @* begin : columns_left
        integer r, j;
        moved = bits >> C;
        for (r = 0; r < KH; r = r + 1) begin
            moved[C*(KW*r+KW-1) +: C] = newest[C*r +: C];
            for (j = 0; j < PW; j = j + 1)
                if (next_x == 0) moved[C*(KW*r+j) +: C] = EDGE ? moved[C*(KW*r+PW) +: C] : 0;
        end
    end
    always @(posedge clk) if (step) bits <= moved;

    // Columns right of the image.
    always @* begin : columns_right
        integer r, j;
        m_data = bits;
        for (j = PW + 1; j < KW; j = j + 1)
            if (LAST_X + j >= W + PW && x + j >= W + PW)
                for (r = 0; r < KH; r = r + 1)
                    m_data[C*(KW*r+j) +: C] = EDGE ? m_data[C*(KW*r+j-1) +: C] : 0;
    end
endmodule
