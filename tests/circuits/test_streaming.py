import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from difflut.circuits import (
    StreamedNetwork,
    estimate_stream_cost,
    family_cost,
    fixed_point_words,
    pixel_words,
    simulate,
    write_stream,
    write_stream_testbench,
)
from difflut.circuits.streaming import memory, verilog
from difflut.encoders.detectors import edges
from difflut.models import network
from difflut.registry import ENCODERS, LAYERS
from tests.circuits.convolutions import convolution

pytestmark = pytest.mark.needs("iverilog")
SHAPE = (6, 5, 2)


def streamed(layers, shape=SHAPE, encoder="distributive_thermometer", seed=0, data=None, **options):
    torch.manual_seed(seed)
    images = torch.randint(256, (200, *shape), dtype=torch.uint8) if data is None else data
    fitted = ENCODERS[encoder](num_bits=3, **options).fit(images)
    return StreamedNetwork.from_model(network(shape, 2, fitted, layers, tau=2.5, seed=seed).eval()), images.numpy()


def bank(size=6, **options):
    return partial(LAYERS["random"], node_type="dwn", n=4, output_size=size, **options)


def assert_equal(stream, x, folder, words=None, stalls=True, simulator="iverilog", seed=1):
    classes = stream.circuit.classes(x)
    assert len(np.unique(classes)) > 1
    design = write_stream(stream, folder, words or pixel_words(stream.circuit))
    write_stream_testbench(design, x, classes, stalls, seed)
    result = simulate(design, simulator)
    assert (result.samples, result.mismatches, result.first) == (len(x), 0, -1)
    return design, result


@pytest.mark.parametrize("kind", ["plain", "pooled", "skips", "tree", "heads"])
@pytest.mark.parametrize("n", [2, 7])
def test_images_with_gaps_and_classes_that_wait_are_classified_as_by_the_network(kind, n, tmp_path):
    model, images = convolution(kind, n=n, seed=n)
    stream = StreamedNetwork.from_model(model)
    with torch.no_grad():
        np.testing.assert_array_equal(stream.circuit.classes(images.numpy()), model(images).argmax(1))
    assert_equal(stream, images[:25].numpy(), tmp_path, seed=n)


def test_streams_that_meet_wait_for_one_another_on_wide_images(tmp_path):
    model, images = convolution("skips", n=2, shape=(4, 40, 1))
    design, _ = assert_equal(StreamedNetwork.from_model(model), images[:8].numpy(), tmp_path)
    assert design.queues["pixel", "conv4"] >= 2 * 41  # two windows of three lines come after it


@pytest.mark.parametrize("seed", range(8))
def test_windows_of_any_form(seed, tmp_path):
    rng = np.random.default_rng(seed)
    shape, layers = rng.integers(4, 9, 2), []
    size = shape
    for _ in range(2):
        kernel = rng.integers(1, 4, 2).clip(max=size)
        stride, padding = rng.integers(1, 3, 2), rng.integers(0, (kernel - 1) // 2 + 1)
        layers.append(bank(kernel_size=kernel.tolist(), stride=stride.tolist(), padding=padding.tolist()))
        size = (size + 2 * padding - kernel) // stride + 1
    stream, x = streamed([*layers, bank(40)], (*shape.tolist(), 1), seed=seed)
    assert_equal(stream, x[:25], tmp_path, seed=seed)


@pytest.mark.parametrize("feature_wise", [True, "channels"])
@pytest.mark.parametrize("seed", range(5))
def test_responses_of_detectors_of_any_form_at_all_borders(seed, feature_wise, tmp_path):
    rng, detectors = np.random.default_rng(seed), []
    high, wide, channels = *rng.integers(4, 8, 2).tolist(), seed % 3 + 1
    for _ in range(3):
        size = rng.integers(1, [min(high, 5), min(wide, 5)]).tolist()
        detectors.append(rng.integers(-3, 4, (*size, rng.choice([1, channels]))).tolist())
        detectors[-1][-1][-1][-1] = 2  # none is 0 alone
    stream, x = streamed(
        [bank(8, kernel_size=3, padding=1), bank(90)], (high, wide, channels), seed=seed, detectors=detectors,
        feature_wise=feature_wise,
    )  # fmt: skip
    assert stream.features[-1] == channels + 2
    assert_equal(stream, x[:50], tmp_path, seed=seed)


@pytest.mark.parametrize("kind", ["plain", "pooled", "skips"])
def test_a_pixel_goes_in_each_clock(kind, tmp_path):
    model, images = convolution(kind)
    stream, x = StreamedNetwork.from_model(model), images[:40].numpy()
    _, result = assert_equal(stream, x, tmp_path, stalls=False)
    assert 0 <= result.cycles - 40 * 30 < 60


@pytest.mark.parametrize(("encoder", "feature_wise"), [*((name, True) for name in ENCODERS), ("gray", False)])
def test_thresholds_that_differ_from_pixel_to_pixel_or_not(encoder, feature_wise, tmp_path):
    data = torch.randn(200, 4, 4, 1) * (1 + torch.rand(4, 4, 1))
    stream, x = streamed([bank(kernel_size=3, padding=1), bank(40)], (4, 4, 1), encoder, 3, data,
                         feature_wise=feature_wise)  # fmt: skip
    words = fixed_point_words(stream.circuit)
    design, _ = assert_equal(stream, x[:25], tmp_path, words)
    assert ("thresholds.v" in design.files) == feature_wise
    assert feature_wise or not (tmp_path / "thresholds.v").exists()


@pytest.mark.needs("verilator")
def test_no_line_grows_with_the_stream(tmp_path):
    stream, _ = streamed([bank(40, kernel_size=3), bank(900)])
    write_stream(stream, tmp_path, pixel_words(stream.circuit))
    assert max(len(line) for path in tmp_path.glob("*.v") for line in path.read_text().splitlines()) < 1000


def test_verilator_agrees(tmp_path):
    model, images = convolution("skips")
    assert_equal(StreamedNetwork.from_model(model), images[:25].numpy(), tmp_path, simulator="verilator")


def test_the_testbench_finds_the_first_image_of_another_class(tmp_path):
    model, images = convolution("plain", n=6)
    stream, x = StreamedNetwork.from_model(model), images[:20].numpy()
    classes = stream.circuit.classes(x)
    classes[[7, 9]] = (classes[[7, 9]] + 1) % 3
    design = write_stream(stream, tmp_path, pixel_words(stream.circuit), prefix="one_")
    write_stream_testbench(design, x, classes)
    result = simulate(design, "iverilog")
    assert (result.mismatches, result.first) == (2, 7)
    assert all(name.startswith("one_") for name in design.files)


FRAMING = """\
module testbench;
    reg clk = 0, reset = 1, last, valid, ready;
    reg [6:0] steps [0:{steps}-1];
    reg [3:0] data;
    wire [3:0] out;
    wire out_last, out_valid, taken;
    integer i;
    framing #(.D(4), .N({pixels})) framing_ (
        .clk(clk), .reset(reset), .s_data(data), .s_last(last), .s_valid(valid), .s_ready(taken),
        .m_data(out), .m_last(out_last), .m_valid(out_valid), .m_ready(ready));
    initial begin
        $readmemh("steps.hex", steps);
        #1 clk = 1;
        #1 clk = 0; reset = 0;
        i = 0;
        while (i < {steps}) begin
            {{ready, valid, last, data}} = steps[i];
            #1 if (out_valid && ready) $display("OUT %0d %0d", out, out_last);
            if (!valid || taken) i = i + 1;
            else if (!ready) steps[i][6] = 1;
            #1 clk = 1;
            #1 clk = 0;
        end
    end
endmodule
"""


@pytest.mark.parametrize("seed", range(3))
def test_an_image_of_too_few_or_too_many_pixels_leaves_the_next_one_right(seed, tmp_path):
    rng, pixels, steps, expected = np.random.default_rng(seed), 5, [], []
    for size in [*rng.permutation(np.arange(1, 10)).tolist(), pixels]:
        image = rng.integers(1, 16, size)
        for number, pixel in enumerate(image.tolist()):
            steps += [rng.integers(2) << 6] * int(rng.integers(3))
            steps.append(int(rng.integers(2)) << 6 | 1 << 5 | (number == size - 1) << 4 | pixel)
        whole = np.append(image, np.zeros(pixels, int))[:pixels].tolist()
        expected += [(pixel, int(number == pixels - 1)) for number, pixel in enumerate(whole)]
    (tmp_path / "steps.hex").write_text("".join(f"{step:x}\n" for step in steps))
    (tmp_path / "testbench.v").write_text(FRAMING.format(steps=len(steps), pixels=pixels))
    framing = Path(verilog.__file__).with_name("framing.v")
    subprocess.run(["iverilog", "-g2005", "-o", "bench", "testbench.v", framing], cwd=tmp_path, check=True)
    output = subprocess.run(["vvp", "-n", "bench"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    given = [tuple(map(int, line.split()[1:])) for line in output.splitlines() if line.startswith("OUT")]
    assert given == expected


@pytest.mark.needs("pyosys")
@pytest.mark.parametrize(
    ("options", "block_luts"),
    [
        ({"feature_wise": True}, 400),
        ({"feature_wise": "channels", "detectors": [edges(box=2)]}, 400),
        ({"feature_wise": True}, 0),
    ],
)
def test_the_estimate_is_near_what_yosys_makes_of_it(options, block_luts, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "BLOCK_LUTS", block_luts)
    layers = [bank(24, kernel_size=3, padding=1), partial(LAYERS["pool"]), bank(60)]
    stream, x = streamed(layers, (8, 9, 1), **options)
    cost = estimate_stream_cost(stream, pixel_words(stream.circuit))
    design, _ = assert_equal(stream, x[:10], tmp_path)
    found = family_cost(design, "stream", "xilinx")
    assert cost.blocks == found.blocks == 3 * (block_luts == 0)
    assert cost.total == pytest.approx(found.luts + 4 * found.memories, rel=0.1)
    assert cost.flip_flops == pytest.approx(found.flip_flops, rel=0.1)
    assert cost.memory == pytest.approx(4 * found.memories, rel=0.1)


@pytest.mark.parametrize(
    ("layers", "options", "said"),
    [
        ([bank(), bank()], {}, "a stream needs a convolution, but all layers are dense; give one a kernel_size"),
        (
            [bank(kernel_size=3, padding=2), bank()],
            {},
            r"layers\[0\] with padding=\(2, 2\) has more windows than a stream has pixels; .* at most \(1, 1\)",
        ),
        (
            [bank(kernel_size=(1, 4)), bank(kernel_size=(1, 4), padding=(0, 1)), bank()],
            {},
            r"layers\[1\] has kernel=\(1, 4\) with padding=\(0, 1\) on an image 2 pixels wide, .* at least 3",
        ),
        (
            [bank(kernel_size=3), bank()],
            {"detectors": [[[[1]] * 11]]},
            r"encoder.detectors has kernel=\(1, 11\) with padding=\(0, 5\) on an image 5 pixels wide, .* at least 6",
        ),
    ],
)
def test_what_cannot_be_streamed_is_refused(layers, options, said):
    with pytest.raises(ValueError, match=said):
        streamed(layers, **options)


@pytest.mark.parametrize(
    ("number", "said"), [(0, r"layers\[0\] gives the same at all windows"), (1, "no class depends on the image")]
)
@pytest.mark.parametrize("entry", [0.0, 1.0])
def test_what_does_not_depend_on_the_image_is_refused(number, said, entry):
    images = torch.randint(256, (50, *SHAPE), dtype=torch.uint8)
    encoder = ENCODERS["distributive_thermometer"](num_bits=3).fit(images)
    model = network(SHAPE, 2, encoder, [bank(kernel_size=2), bank(8)]).eval()
    node = model.layers[number].node
    node.load_table(torch.full_like(node.soft_table(), entry))
    with pytest.raises(ValueError, match=said):
        StreamedNetwork.from_model(model)
