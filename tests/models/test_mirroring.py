"""What a mirrored network gives for an image is what the network gives for the mirrored image."""

from functools import partial

import pytest
import torch

from difflut.circuits import Circuit
from difflut.encoders.detectors import colours, edges
from difflut.encoders.joining import mirrored_kernel
from difflut.encoders.responses import with_responses
from difflut.layers import GroupSum
from difflut.models import LUTNetwork, ensemble, hardened, load_checkpoint, mirrored, network, save_checkpoint
from difflut.registry import ENCODERS, LAYERS, NODES
from tests.circuits.convolutions import KINDS, convolution
from tests.layers.making import make_layer
from tests.models.test_fusion import LAYER_TYPES, build

EVEN = [[[[1, 2], [0, -3]]], [[[2], [0], [-1], [1]], [[0], [3], [1], [0]]]]
DETECTORS = [*edges(), *colours([[2, -1]], box=2), *EVEN]
BANK = partial(LAYERS["random"], node_type="dwn", n=4)


def assert_mirrored(model, images):
    """Compares with mirrored images `(batch, height, width, channels)`, which must make a difference."""
    expected = model(images.flip(2))
    assert not torch.equal(expected, model(images))
    made = mirrored(model)
    assert torch.equal(made(images), expected)
    assert torch.equal(mirrored(made)(images), model(images))
    return made


def images_network(layers, shape=(6, 5, 2), **encoder):
    torch.manual_seed(0)
    images = torch.randint(256, (200, *shape), dtype=torch.uint8)
    fitted = ENCODERS["distributive_thermometer"](num_bits=3, **encoder).fit(images)
    return network(shape, 3, fitted, layers).eval(), images


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("layer", sorted(set(LAYER_TYPES) - {"user's forward"}))
def test_every_layer_and_node_type(layer, node):
    torch.manual_seed(0)
    layers, bits = list(build(layer, node).layers), torch.randint(2, (300, 3, 4, 4)).float()
    model = LUTNetwork(None, layers, GroupSum(2, 3.0, reads=["b", "4"])).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)  # some node types start with tables of zeros
    expected = model(bits.flip(3))
    assert not torch.equal(expected, model(bits))
    assert torch.equal(mirrored(model)(bits), expected)


@pytest.mark.parametrize("width", [5, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_pooling_trees_skips_and_heads(kind, width, tmp_path):
    model, images = convolution(kind, shape=(6, width, 2), detectors=DETECTORS)
    made = assert_mirrored(model, images)
    assert (Circuit.from_model(made).classes(images.numpy()) == made(images).argmax(1).numpy()).all()
    save_checkpoint(made, tmp_path / "mirrored.pt", hard=True)
    assert torch.equal(load_checkpoint(tmp_path / "mirrored.pt")(images), made(images))
    assert (made.num_luts, made.num_lookups) == (model.num_luts, model.num_lookups)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"stride": (1, 3), "padding": (0, 1), "kernel_size": (1, 4)},
        {"channels_per_node": 2, "padding": 1},
        {"groups": 2, "kernel_size": 2, "stride": 3},
        {"layer_type": "learnable", "top_k": 5, "channels_per_node": 2, "stride": 2, "padding": 1},
    ],
    ids=str,
)
def test_windows_and_channels(options):
    options = {
        "layer_type": "random",
        "kernel_size": 3,
        "output_size": 12,
        "node_type": "probabilistic",
        "n": 4,
    } | options
    first = partial(LAYERS[options.pop("layer_type")], **options)
    assert_mirrored(*images_network([first, partial(BANK, output_size=30)], (7, 9, 2)))


@pytest.mark.parametrize("feature_wise", [True, False, "channels"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoders_and_dense_layers_that_read_images(encoder, feature_wise):
    torch.manual_seed(0)
    images = torch.randn(300, 6, 5, 2)
    fitted = ENCODERS[encoder](num_bits=3, feature_wise=feature_wise).fit(images)
    first = partial(BANK, output_size=40, image_shape=(6, 5), window=3)
    assert_mirrored(network((6, 5, 2), 3, fitted, [first, partial(BANK, output_size=30)]).eval(), images)


def test_learned_thresholds_of_each_pixel():
    model, images = images_network([partial(BANK, output_size=30)], detectors=DETECTORS, learnable=True)
    torch.nn.init.normal_(model.encoder.moves)
    assert_mirrored(model, images)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_a_mirrored_kernel_responds_to_the_mirrored_pixel(height, width):
    kernels = torch.randint(1, 9, (2, height, width, 3)).tolist()
    images = torch.randint(256, (4, 5, 6, 3), dtype=torch.uint8)
    expected = with_responses(images.flip(2), kernels)
    assert torch.equal(with_responses(images, [mirrored_kernel(kernel) for kernel in kernels]).flip(2), expected)


def test_what_a_mirror_leaves_as_it_was_stays():
    model, _ = convolution("tree")
    made = mirrored(model)
    before = hardened(model)
    assert [layer.get_params() for layer in made.layers[1:2]] == [layer.get_params() for layer in before.layers[1:2]]
    pooled = mirrored(convolution("pooled")[0])
    assert type(pooled.layers[1]) is LAYERS["pool"]


def test_the_given_network_is_left_as_it_was():
    model, _ = convolution("skips", detectors=DETECTORS)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kernels = list(model.encoder.detectors)
    mirrored(model.train())
    assert model.training and model.encoder.detectors == kernels
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_cannot_be_mirrored_is_refused():
    flat = ENCODERS["thermometer"](num_bits=2).fit(torch.randn(50, 12))
    with pytest.raises(
        ValueError, match=r"reads features of shape \(12,\), and only images .*: fit its encoder on images"
    ):
        mirrored(network((12,), 3, flat, [partial(BANK, output_size=30)]))
    with pytest.raises(ValueError, match=r"reads features of shape \(\), and only images"):
        mirrored(LUTNetwork(None, [make_layer("random", shape=(24,))], GroupSum(3)))
    dense = make_layer("random", shape=(3, 4, 4), output_size=48)
    convolutions = [make_layer("random", shape=(3, 4, 4), kernel_size=3, padding=1, output_size=3), dense]
    mixed = make_layer("random", shape=(6, 4, 4), kernel_size=2, output_size=6, reads=["0", "1"])
    with pytest.raises(
        ValueError, match=r"layers\[2\]: input_size=\[6, 4, 4\] is channels of 4 x 4 pixels, .* or not all"
    ):
        mirrored(LUTNetwork(None, [*convolutions, mixed], GroupSum(3)))


def test_heads_that_count_mirrored_pixels_to_other_classes_are_refused():
    layer = make_layer("random", shape=(3, 4, 4), kernel_size=3, padding=1, output_size=6)
    bits = torch.randint(2, (100, 3, 4, 4)).float()
    model = LUTNetwork(None, [layer], GroupSum(3)).eval()
    assert torch.equal(mirrored(model)(bits), model(bits.flip(3)))
    for head, said in (
        (GroupSum(48), "k=48 classes, use_randperm=False"),
        (GroupSum(3, 1.0, True), "use_randperm=True"),
    ):
        with pytest.raises(ValueError, match=rf"are counted to .*{said}, and mirrored ones .*: make its channels"):
            mirrored(LUTNetwork(None, [layer], head))
    with pytest.raises(ValueError, match="are not summed, and mirrored ones"):
        mirrored(LUTNetwork(None, [layer]))


@pytest.mark.parametrize(
    ("encoder", "features"),
    [
        # Of edges two kernels are their own mirror image, and so is the sum of two pixels in height.
        ({"detectors": [*edges(), [[[1, 1]], [[1, 1]]]], "feature_wise": "channels"}, 2 + 6 + 3),
        ({"detectors": edges(), "feature_wise": False}, 2 + 5 + 3),
        ({"detectors": edges()}, 2 * (2 + 5)),  # no pixel has the thresholds of the mirrored one
        ({"feature_wise": "channels"}, 2),
    ],
)
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_votes_on_mirrored_images_are_counted_too(encoder, features, dense, count, tmp_path):
    layers = [partial(BANK, output_size=6, kernel_size=3, padding=1), LAYERS["pool"], partial(BANK, output_size=30)]
    members, layers = [], layers[2 * dense :]
    for seed in range(count):
        first, images = images_network(layers, (6, 4, 2), **encoder)
        members.append(network((6, 4, 2), 3, first.encoder, layers, tau=1.5, seed=seed).eval())
    together = ensemble(members, mirrored=True).eval()
    votes = [member(seen) for member in members for seen in (images, images.flip(2))]
    expected = torch.stack(votes).mean(0)
    assert not torch.equal(votes[0], votes[1])
    torch.testing.assert_close(together(images), expected)
    assert together.encoder.output_size == 6 * 4 * features * 3
    assert together.num_luts == 2 * sum(member.num_luts for member in members)
    assert (Circuit.from_model(together).classes(images.numpy()) == together(images).argmax(1).numpy()).all()
    save_checkpoint(together, tmp_path / "together.pt", hard=True)
    assert torch.equal(load_checkpoint(tmp_path / "together.pt")(images), together(images))


def test_pooling_and_skips_that_read_the_encoder_find_their_channels():
    layers = [
        partial(LAYERS["pool"], name="pooled"),
        partial(BANK, output_size=6, kernel_size=2, stride=2, name="first", reads=["encoder"]),
        partial(BANK, output_size=30, reads=["first", "encoder", "pooled"]),
    ]
    model, images = images_network(layers, detectors=DETECTORS)
    together = ensemble([model], mirrored=True).eval()
    torch.testing.assert_close(together(images), (model(images) + model(images.flip(2))) / 2)


def test_thresholds_of_each_pixel_need_detectors_to_be_counted_together():
    model, _ = convolution("plain")
    with pytest.raises(ValueError, match=r"without detectors .* same thresholds, got 2 .* feature_wise='channels'"):
        ensemble([model], mirrored=True)


@pytest.mark.filterwarnings("ignore:.*come out constant")
@pytest.mark.parametrize("detectors", [None, DETECTORS])
def test_an_encoder_of_one_level_has_no_thresholds_to_mirror(detectors):
    images = torch.randint(256, (20, 6, 5, 2), dtype=torch.uint8)
    encoder = ENCODERS["onehot"](1, detectors=detectors).fit(images)
    model = network((6, 5, 2), 3, encoder, [partial(BANK, output_size=9)]).eval()
    assert torch.equal(mirrored(model)(images), model(images))
    assert torch.equal(ensemble([model], mirrored=True)(images), model(images))
