"""A testbench beside a streaming design: whole images with stalls on both sides, and the classes that are expected."""

import numpy as np

from difflut.circuits.streaming.verilog import StreamDesign
from difflut.circuits.writers.testbench import SIMULATORS, command, hexadecimal, in_bits

TESTBENCH = """\
// Gives the pixels of inputs.hex to the network and compares the classes with the lines of expected.hex. {manner}
// In this folder: {iverilog}
//             or: {verilator}
// It prints CYCLES, the clock cycles of it all, and RESULT, the images, how many differ (0), and the first that does
// (-1 if none). A class that goes away before it is taken, or never comes, differs.
module testbench;
    localparam IMAGES = {images}, PIXELS = {pixels};
    reg clk = 0, resetn = 0, valid = 0, ready = 0, held = 0;
    wire taken, there;
    wire [{label}-1:0] class_;
    reg [{label}-1:0] shown;
    reg [{width}-1:0] inputs [0:IMAGES*PIXELS-1];
    reg [{label}-1:0] expected [0:IMAGES-1];
    reg [31:0] random = {seed};
    integer i = 0, o = 0, rest = 0, gaps = 0, waits = 0, cycles = 0, idle = 0, mismatches = 0, first = -1;

    {prefix}stream stream_ (
        .aclk(clk), .aresetn(resetn),
        .s_axis_tdata(valid ? inputs[i] : {{{width}{{1'bx}}}}), .s_axis_tlast(valid && i % PIXELS == PIXELS - 1),
        .s_axis_tvalid(valid), .s_axis_tready(taken),
        .m_axis_tdata(class_), .m_axis_tvalid(there), .m_axis_tready(ready));

    task draw;
        random = random * 32'd1664525 + 32'd1013904223;
    endtask

    task tick;
        begin
            #1 clk = 1;
            #1 clk = 0;
        end
    endtask

    initial begin
        $readmemh("inputs.hex", inputs);
        $readmemh("expected.hex", expected);
        tick;
        tick;
        resetn = 1;
        while (o < IMAGES && idle < {patience}) begin
            draw;
            if (!valid && i < IMAGES * PIXELS) begin
                if (rest > 0) rest = rest - 1;
                else valid = random[31:24] >= gaps;
            end
            ready = random[23:16] >= waits;
            #1;
            if (held && (!there || class_ !== shown)) begin
                mismatches = mismatches + 1;
                if (first < 0) first = o;
            end
            held = there && !ready;
            shown = class_;
            idle = idle + 1;
            cycles = cycles + 1;
            if (there && ready) begin
                if (class_ !== expected[o]) begin
                    mismatches = mismatches + 1;
                    if (first < 0) first = o;
                end
                o = o + 1;
                idle = 0;
            end
            if (valid && taken) begin
                tick;
                i = i + 1;
                idle = 0;
                valid = i < IMAGES * PIXELS && random[15:8] >= gaps;
                if (i % PIXELS == 0) begin
                    draw;
                    gaps = {stalls} && random[31] ? random[30:24] + 100 : 0;
                    waits = {stalls} && random[23] ? 254 : 0;
                    rest = {stalls} && random[22] ? random[21:14] % {longest} : 0;
                    if (rest > 0) valid = 0;
                end
            end else tick;
        end
        if (o < IMAGES) begin
            mismatches = mismatches + IMAGES - o;
            if (first < 0) first = o;
        end
        $display("CYCLES %0d", cycles);
        $display("RESULT %0d %0d %0d", IMAGES, mismatches, first);
        $finish;
    end
endmodule
"""

STALLED = """\
Some images come
// with gaps between pixels, some are followed by a rest, and some classes wait before they are taken."""
AT_ONCE = "A pixel comes each clock."


def write_stream_testbench(
    design: StreamDesign, x: np.ndarray, classes: np.ndarray, stalls: bool = True, seed: int = 1
) -> None:
    """Writes testbench.v, inputs.hex, a line a pixel, and expected.hex beside the design.

    Args:
        x: Images `(samples, height, width, channels)` of any shape with as many numbers, one at least.
        classes: The classes that are expected: `(samples,)`.
        stalls: Whether there are gaps between pixels and images and the classes have to wait; otherwise there are none.
        seed: Seed of the gaps.

    Raises:
        ValueError: There are no samples.
    """
    if not len(x):
        raise ValueError("a testbench needs at least one sample, got 0")
    height, width, channels = design.shape
    words = design.words(x).reshape(-1, channels)
    (design.folder / "inputs.hex").write_text(hexadecimal(in_bits(words, design.words.width)), encoding="utf-8")
    expected = in_bits(classes[:, None], design.index_width)
    (design.folder / "expected.hex").write_text(hexadecimal(expected), encoding="utf-8")
    pixels = height * width
    text = TESTBENCH.format(
        images=len(x),
        pixels=pixels,
        width=design.pixel_width,
        label=-(-design.index_width // 8) * 8,
        prefix=design.prefix,
        seed=seed,
        stalls=int(stalls),
        manner=STALLED if stalls else AT_ONCE,
        longest=3 * width + 2,
        patience=100 * pixels + 100_000,
        **{simulator: command(simulator) for simulator in SIMULATORS},
    )
    (design.folder / "testbench.v").write_text(text, encoding="utf-8")
