import numpy as np
import pytest
import torch
import torch.nn.functional as F

from difflut.encoders import DistributiveThermometer
from difflut.encoders.clusters import Clusters
from difflut.encoders.detectors import as_whole, edges

QUICK = {"count": 4, "size": 3, "patches": 400, "rounds": 5}


def stripes(rows=200, shape=(9, 8), seed=0):
    """Images of lines in one of two directions, in all colours alike, with noise."""
    generator = torch.Generator().manual_seed(seed)
    across = torch.randint(2, (rows, 1, 1, 1), generator=generator).bool()
    lines = torch.randint(30, 220, (rows, shape[0], 1, 1), generator=generator).expand(-1, -1, shape[1], -1)
    columns = torch.randint(30, 220, (rows, 1, shape[1], 1), generator=generator).expand(-1, shape[0], -1, -1)
    noise = torch.randint(-5, 6, (rows, *shape, 3), generator=generator)
    return (torch.where(across, lines, columns) + noise).to(torch.uint8)


def test_kernels_are_what_patches_have_in_common():
    kernels = np.array(Clusters(**QUICK | {"count": 6, "rounds": 10}, smoothing=3.0).learn(stripes()))
    assert kernels.shape == (6, 3, 3, 3) and kernels.dtype == np.int64
    assert (np.abs(kernels).max((1, 2, 3)) == 7).all()
    grey = kernels.sum(3)
    alike = np.abs(kernels - grey[..., None] / 3).max((1, 2, 3)) <= 1  # in all colours, but for a centre of few patches
    assert alike.sum() >= 5
    across, down = np.ptp(grey[alike], 2).max(1), np.ptp(grey[alike], 1).max(1)
    assert (np.minimum(across, down) <= 4).all() and (np.maximum(across, down) >= 20).all()  # each is one of lines
    assert len(set(across > down)) == 2  # in both directions
    assert np.abs(kernels.sum((1, 2, 3))).max() <= 9  # brightness alone is no response


def test_kernels_follow_from_images_and_seed_alone():
    x, clusters = stripes(), Clusters(**QUICK)
    kernels = clusters.learn(x)
    torch.rand(5)
    assert clusters.learn(x) == kernels == clusters.learn(x.numpy()) == clusters.learn(x.float())
    assert Clusters(**QUICK, seed=1).learn(x) != kernels
    assert Clusters(**QUICK).learn(stripes(seed=1)) != kernels
    assert np.abs(Clusters(**QUICK, most=2).learn(x)).max() == 2


@pytest.mark.cuda
def test_kernels_do_not_depend_on_the_device():
    assert Clusters(**QUICK).learn(stripes().cuda()) == Clusters(**QUICK).learn(stripes())


def test_boxes_have_one_weight_and_channels_stand_in_proportion():
    x = stripes()
    kernels = np.array(Clusters(**QUICK, box=2, channels=[1, 1, -2]).learn(x))
    assert kernels.shape == (4, 6, 6, 3)
    assert (kernels == kernels[..., :1] * np.array([1, 1, -2])).all()
    assert (kernels == kernels[:, ::2, ::2].repeat(2, 1).repeat(2, 2)).all()
    grey = np.array(Clusters(**QUICK, channels=[1]).learn(x))
    assert grey.shape == (4, 3, 3, 1)
    sums = x.sum(-1) // 3  # the patches of grey images
    assert np.abs(grey - np.array(Clusters(**QUICK).learn(sums))).max() <= 2


def test_an_encoder_learns_them_and_holds_numbers():
    x, clusters = stripes(), Clusters(**QUICK)
    encoder = DistributiveThermometer(2, feature_wise="channels", detectors=[edges(), clusters])
    assert encoder.detectors == [*edges(), *clusters.start()]
    assert encoder.compared_shape((9, 8, 3)) == (9, 8, 3 + 5 + 4)
    encoder.fit(x)
    assert encoder.detectors == [*edges(), *clusters.learn(x)]
    given = DistributiveThermometer(2, feature_wise="channels", detectors=encoder.detectors).fit(x)
    assert given.get_params() == encoder.get_params() and torch.equal(given.thresholds, encoder.thresholds)
    assert torch.equal(given(x[:9]), encoder(x[:9]))
    other = stripes(seed=1)
    assert encoder.fit(other).detectors == [*edges(), *clusters.learn(other)]  # a second fit forgets the first
    assert given.fit(other).detectors == [*edges(), *clusters.learn(x)]


def test_weights_are_rounded_by_the_largest_of_their_kernel():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(20, 4, 5, 3, generator=generator) * torch.logspace(-5, 3, 20).view(-1, 1, 1, 1)
    found = torch.tensor(as_whole(weights, 7))
    assert (found.abs().amax((1, 2, 3)) == 7).all()
    assert (found - weights / weights.abs().amax((1, 2, 3), keepdim=True) * 7).abs().max() <= 0.501


@pytest.mark.parametrize(
    "options,images,error",
    [
        ({}, iter([stripes()]), "need the training images as one array, got a list_iterator"),
        ({}, stripes().flatten(1), "images .height, width"),
        ({"size": 5, "box": 2}, stripes(), "10 x 10 pixels need images as large; got 200 images of 9 x 8"),
        ({}, stripes()[:0], "got 0 images"),
        ({}, torch.full((20, 9, 8, 3), 7), "kernel 0 has no weights"),
        ({"channels": [1, -1]}, stripes(), "must be one weight, or one for each of the 3 channels"),
        ({"size": 0}, None, "detectors.clusters: size=0 must be at least 1"),
        ({"patches": 3}, None, "patches=3 must be at least count=4"),
        ({"smoothing": 0.0}, None, "smoothing=0.0 must be above 0"),
    ],
)
def test_what_cannot_be_learned_from_is_an_error(options, images, error):
    with pytest.raises((TypeError, ValueError), match=error):
        DistributiveThermometer(2, detectors=[Clusters(**QUICK | options)]).fit(images)


def test_kernels_find_what_patches_are_made_of():
    """Patches of a strong gradient, which all share, and of one of four patterns of either sign."""
    generator = torch.Generator().manual_seed(0)
    gradient = (torch.arange(5.0) - 2).expand(5, 5).flatten() / 50**0.5
    patterns = torch.linalg.qr(torch.randn(25, 6, generator=generator)).Q.t()
    shared = torch.stack([torch.ones(25) / 5, gradient])
    patterns = patterns - patterns @ shared.t() @ shared
    patterns = torch.linalg.qr(patterns[:4].t()).Q.t()
    which = torch.randint(4, (4000,), generator=generator)
    sign = torch.randint(2, (4000, 1), generator=generator) * 2 - 1
    strength = torch.randn(4000, 1, generator=generator)
    x = 128 + 200 * strength * gradient + 80 * sign * patterns[which] + torch.randn(4000, 25, generator=generator)
    images = x.round().clamp(0, 255).to(torch.uint8).view(-1, 5, 5, 1)
    kernels = torch.tensor(Clusters(4, 5, smoothing=0.01, patches=4000).learn(images)).flatten(1).float()
    responses = (F.normalize(kernels) @ torch.cat([patterns, gradient[None]]).t()).abs()
    assert responses[:, :4].argmax(0).sort().values.tolist() == [0, 1, 2, 3]
    assert (responses[:, :4].amax(1) > 0.9).all() and (responses[:, 4] < 0.2).all()
    assert (kernels.sum(1).abs() <= 0.1 * kernels.abs().sum(1)).all()


def test_a_response_is_the_product_of_a_centre_and_a_whitened_patch():
    clusters = Clusters(**QUICK | {"rounds": 40}, most=10**6)
    kernels = torch.tensor(clusters.learn(stripes())).double().flatten(1)
    patches = clusters._draw(stripes(), torch.Generator().manual_seed(0)).flatten(1)
    patches = patches - patches.mean(1, keepdim=True)
    patches = patches / (patches.std(1, correction=0, keepdim=True) + 10)
    patches = patches - patches.mean(0)
    variances, directions = torch.linalg.eigh(patches.t() @ patches / len(patches))
    colouring = directions * (variances + 0.1).sqrt() @ directions.t()  # the inverse of whitening
    centres, whitened = F.normalize(kernels @ colouring), patches @ torch.linalg.inv(colouring)
    products = whitened @ centres.t()
    nearest = products.abs().argmax(1, keepdim=True)
    sums = torch.zeros_like(centres).index_add_(0, nearest[:, 0], whitened * products.gather(1, nearest))
    assert ((F.normalize(sums) * centres).sum(1) > 0.999).all()  # each is the mean of its patches
