import numpy as np
import pytest
import torch

from difflut.encoders import (
    DistributiveThermometer,
    GaussianThermometer,
    Gray,
    Logarithmic,
    MidpointThermometer,
    detectors,
)
from difflut.encoders.detectors import EDGES, colours, edges
from difflut.encoders.responses import Bank, bank, with_responses

SIZES = [(3, 3, 1), (1, 2, 3), (4, 5, 3), (2, 1, 1)]
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])


def images(rows=60, height=6, width=5, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (rows, height, width, channels), dtype=torch.uint8, generator=generator)


def kernels(seed=0, most=5):
    rng = np.random.default_rng(seed)
    return [(rng.integers(1, most, size) * rng.choice([-1, 1], size)).tolist() for size in SIZES]


def expected(x, kernels):
    """Pixel by pixel: the kernel's middle, the upper left one of even sizes, lies on the pixel."""
    x = np.asarray(x).astype(np.int64)
    height, width = x.shape[1:3]
    found = []
    for kernel in map(np.array, kernels):
        response = np.zeros(x.shape[:3], np.int64)
        for (dy, dx), weights in zip(np.ndindex(kernel.shape[:2]), kernel.reshape(-1, kernel.shape[2]), strict=True):
            lines = np.clip(np.arange(height) + dy - (kernel.shape[0] - 1) // 2, 0, height - 1)
            columns = np.clip(np.arange(width) + dx - (kernel.shape[1] - 1) // 2, 0, width - 1)
            response += (x[:, lines][:, :, columns] * weights).sum(-1)
        found.append(response)
    return torch.from_numpy(np.stack(found, -1))


@devices
@pytest.mark.parametrize("shape", [(6, 5), (2, 7), (1, 1)])
def test_responses_are_exact(device, shape, monkeypatch):
    x, some = images(33, *shape), kernels()
    found = with_responses(x.to(device), some).cpu()
    assert found.dtype == torch.float32
    assert torch.equal(found[..., :3].byte(), x) and torch.equal(found[..., 3:].long(), expected(x, some))
    monkeypatch.setattr("difflut.encoders.responses.BLOCK_VALUES", 1000)
    assert torch.equal(with_responses(x.to(device), some).cpu(), found)
    assert torch.equal(with_responses(x.to(device, torch.float16), some).cpu(), found)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(with_responses(x.to(device), some).cpu(), found)


@devices
def test_responses_up_to_what_float32_holds_are_exact(device):
    large = [[[[2047, -2039, 2029], [-2027, 2017, -2011]], [[-2003, 1999, -1997], [1993, -1987, 1979]]]]
    x = images(20)
    assert torch.equal(with_responses(x.to(device), large)[..., 3:].cpu().long(), expected(x, large))


def test_a_kernel_of_one_channel_reads_the_sum_of_the_colours():
    x = images()
    grey = x.sum(-1, keepdim=True)
    assert torch.equal(with_responses(x, edges())[..., 3:].long(), expected(grey, edges()))
    assert torch.equal(with_responses(x, edges([2, -1, 3]))[..., 3:].long(),
                       expected((x * torch.tensor([2, -1, 3])).sum(-1, keepdim=True), edges()))  # fmt: skip


def test_edges_of_boxes_are_edges_of_the_smoothed_image():
    x = images(10, 15, 17)
    square = [[[[1]] * 3] * 3]
    smooth = expected(x.sum(-1, keepdim=True), square)
    spaced = [[[[w] if not (i % 2 or j % 2) else [0] for j, w in enumerate(np.repeat(line, 2)[:5])]
               for i, line in enumerate(np.repeat(points, 2, 0)[:5])] for points in EDGES]  # fmt: skip
    found = with_responses(x, edges(box=3, spacing=2))[..., 3:].long()
    assert torch.equal(found[:, 3:-3, 3:-3], expected(smooth, spaced)[:, 3:-3, 3:-3])
    assert all(np.shape(kernel) == (7, 7, 1) for kernel in edges(box=3, spacing=2))


def test_colours_are_differences():
    red, green, blue = images().long().unbind(-1)
    found = with_responses(images(), colours(box=1))[..., 3:].long()
    assert torch.equal(found, torch.stack([red - green, red + green - 2 * blue], -1))
    assert torch.equal(with_responses(images(), colours())[..., 3:].long(), expected(images(), colours()))


@pytest.mark.parametrize("kind", [DistributiveThermometer, MidpointThermometer, GaussianThermometer, Gray, Logarithmic])
@pytest.mark.parametrize("feature_wise", [True, False, "channels"])
@pytest.mark.filterwarnings("ignore:.*come out constant")
def test_responses_are_features_as_the_colours_are(kind, feature_wise):
    x, some = images(), kernels()
    features = torch.cat([x, expected(x, some)], -1)
    plain = kind(3, feature_wise=feature_wise).fit(features)
    encoder = kind(3, feature_wise=feature_wise, detectors=some).fit(x)
    assert torch.equal(encoder.thresholds, plain.thresholds)
    assert encoder.feature_shape == (6, 5, 3) and encoder.output_size == 6 * 5 * 7 * 3
    bits = plain(features)
    for form in (x, x.float(), x.flatten(1), x.unsqueeze(1)):
        assert torch.equal(encoder(form), bits)
    assert encoder(x[:0]).shape == (0, 630)
    encoder.flatten = False
    assert torch.equal(encoder(x), bits.view(60, 6, 5, 7, 3))
    for given in (x.numpy(), x.double(), iter([x[:20], x[20:].numpy()])):
        assert torch.equal(kind(3, feature_wise=feature_wise, detectors=some).fit(given).thresholds, plain.thresholds)


@pytest.mark.parametrize("kind", [DistributiveThermometer, MidpointThermometer])
@pytest.mark.parametrize("feature_wise", [True, False, "channels"])
@pytest.mark.parametrize("array", [torch.Tensor.numpy, torch.Tensor.float])
def test_fitting_holds_a_block_of_responses_at_a_time(kind, feature_wise, array, monkeypatch):
    x, some = images(20), kernels()
    whole = kind(3, feature_wise=feature_wise, detectors=some).fit(x)
    sizes, respond = [], Bank.respond

    def watched(*args):
        sizes.append((found := respond(*args)).numel())
        return found

    monkeypatch.setattr(Bank, "respond", watched)
    for module in ("data", "responses"):
        monkeypatch.setattr(f"difflut.encoders.{module}.BLOCK_VALUES", 600)
    blocks = kind(3, feature_wise=feature_wise, detectors=some).fit(array(x))
    assert torch.equal(blocks.thresholds, whole.thresholds)
    assert max(sizes) <= 3 * 600 < sum(sizes)
    sizes.clear()
    kind(3, feature_wise=feature_wise, detectors=some).fit([array(x)])
    assert max(sizes) <= 600


def test_grey_images_may_lack_their_axis_of_channels():
    x = images(channels=1)
    encoder = DistributiveThermometer(3, detectors=edges()).fit(x.squeeze(-1))
    assert encoder.compared_shape((6, 5)) == (6, 5, 6) and encoder.feature_shape == (6, 5, 1)
    assert torch.equal(encoder(x), encoder(x.squeeze(-1)))


def test_what_is_no_pixel_is_rounded_up_and_held_within():
    x = images()
    encoder = DistributiveThermometer(5, detectors=[edges(), colours()]).fit(x)
    near = (x - 0.75).where(x % 2 == 0, x.float())
    near[x == 255], near[x == 0] = torch.inf, torch.nan
    assert torch.equal(encoder(near), encoder(x))


def test_kernels_and_lists_of_kernels_are_one_list():
    one, *others = kernels()
    encoder = DistributiveThermometer(detectors=[one, others, tuple(edges())])
    assert (
        encoder.detectors == [one, *others, *edges()] == DistributiveThermometer(detectors=encoder.detectors).detectors
    )
    assert DistributiveThermometer(detectors=[]).get_params()["detectors"] is None


@pytest.mark.parametrize("bits", [1, 4, 7, 16])
def test_thresholds_are_snapped_to_the_highest_bits_of_words(bits):
    x = images(300)
    encoder = DistributiveThermometer(4, word_bits=bits, detectors=edges([1, 2, -1])).fit(x)
    width = torch.tensor([8, 8, 8, 13, 13, 13, 13, 13]).repeat(30)[:, None]  # 255 * 4 * 3 is the most after the colours
    detectors_of = bank(encoder.detectors, 3)
    assert max(detectors_of.high.tolist()) < 2**12 and min(detectors_of.low.tolist()) >= -(2**12)
    first = encoder.thresholds.floor() + 1
    assert (first % 2 ** (width - bits).clamp(min=0) == 0).all() and (encoder.thresholds.diff(dim=1) >= 0).all()
    exact = DistributiveThermometer(4, detectors=edges([1, 2, -1])).fit(x)
    away = (first - exact.thresholds.floor() - 1).abs()
    assert (away <= 2 ** (width - bits).clamp(min=0) * (1 if bits == 1 else 0.5)).float().mean() > 0.95
    assert bits < 16 or torch.equal(encoder(x), exact(x))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1, 2, 3]], r"detectors\[0\] must be lists \(height, width, channels\) of whole numbers.*got \[1, 2, 3\]"),
        ([[[[1.5]]]], r"detectors\[0\] must be lists"),
        ([[[[1], [2, 3]]]], r"detectors\[0\] must be lists"),
        ([[[[1]]], [[[0, 0]]]], r"detectors\[1\] must be lists .* not all 0; got \[\[\[0, 0\]\]\]"),
        ([[[[True]]]], r"detectors\[0\] must be lists"),
        ([edges], r"detectors\[0\] must be lists .* got <function edges"),
        ([[[[2**70]]]], r"detectors\[0\] must be lists"),
    ],
)
def test_what_is_no_kernel_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        DistributiveThermometer(detectors=given)


def test_what_does_not_fit_the_images_is_refused():
    with pytest.raises(ValueError, match=r"detectors\[0\] reads 2 channels, the images have 3"):
        DistributiveThermometer(detectors=[[[[1, 2]]]]).fit(images())
    with pytest.raises(ValueError, match=r"detectors\[0\] may respond 22950000; float32 is exact below 16777216"):
        DistributiveThermometer(detectors=[[[[30000]]]]).fit(images())
    with pytest.raises(ValueError, match=r"detectors .*need images .*; got \(30,\)"):
        DistributiveThermometer(detectors=edges()).fit(images().flatten(1)[:, :30])
    with pytest.raises(ValueError, match=r"detectors .*need images .*; got \(30,\)"):
        DistributiveThermometer(detectors=edges()).compared_shape((30,))
    for wrong in (0.25, -3.0, 256.0, torch.nan):
        x = images().float()
        x[7, 2, 1, 0] = wrong
        with pytest.raises(ValueError, match=f"detectors need pixels, whole numbers from 0 to 255; got {wrong:g}"):
            DistributiveThermometer(detectors=edges()).fit(x)
    with pytest.raises(ValueError, match="no training inputs"):
        DistributiveThermometer(detectors=edges()).fit(images()[:0])
    for options in ({"box": 0}, {"spacing": -1}):
        with pytest.raises(ValueError, match="must be at least 1 pixel"):
            detectors.edges(**options)
