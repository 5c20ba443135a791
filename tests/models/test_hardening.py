import pytest
import torch

from difflut.encoders import DistributiveThermometer
from difflut.encoders.detectors import edges
from difflut.models import CheckpointError, hardened, load_checkpoint, read_checkpoint, save_checkpoint, save_sealed
from difflut.models.hardening import pack_bits, unpack_bits
from difflut.registry import NODES
from tests.circuits.convolutions import KINDS, convolution
from tests.models.test_checkpoint import network
from tests.models.test_fusion import LAYER_TYPES, build


def reloaded(model, path):
    save_checkpoint(model, path, hard=True)
    return load_checkpoint(path)


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("layer", set(LAYER_TYPES) - {"user's forward"})
def test_a_hard_checkpoint_evaluates_as_the_network(layer, node, tmp_path):
    model = build(layer, node).eval()
    x = torch.randint(2, (300, 48)).float()
    assert torch.equal(reloaded(model, tmp_path / "hard.pt")(x), model(x))


@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_skips_and_heads_stay_what_they_are(kind, tmp_path):
    model, images = convolution(kind)
    loaded = reloaded(model, tmp_path / "hard.pt")
    assert torch.equal(loaded(images), model(images))
    assert [layer.output_shape for layer in loaded.layers] == [layer.output_shape for layer in model.layers]


def test_it_takes_bits_for_what_evaluation_computes(tmp_path):
    model = network(layer="learnable", node="dwn").eval()
    model(torch.randn(4, 5))  # the permutation of the group sum is there
    save_checkpoint(model, tmp_path / "hard.pt", hard=True)
    content = read_checkpoint(tmp_path / "hard.pt")
    assert [packed.numel() for packed in content["tables"].values()] == [24 * 4 // 8, 12 * 4 // 8]
    numbers = {"encoder.thresholds", "encoder._extra_state"}
    others = {key: value.dtype for key, value in content["state"].items() if key not in numbers}
    assert others["layers.0.mapping"] == torch.uint8 and set(others.values()) == {torch.uint8}


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("detectors", [None, edges()])
def test_thresholds_that_pixels_share_are_there_once(detectors, learnable, tmp_path):
    model, images = convolution("plain", detectors=detectors)
    encoder = DistributiveThermometer(3, feature_wise="channels", detectors=detectors, learnable=learnable).fit(images)
    model.encoder, channels = encoder, 2 + len(detectors or [])
    if learnable:  # pixels differ in how far a move goes
        with torch.no_grad():
            encoder.moves += 0.3
    assert torch.equal(reloaded(model, tmp_path / "hard.pt")(images), model(images))
    kept = read_checkpoint(tmp_path / "hard.pt")["state"]["encoder.thresholds"]
    assert len(kept) == channels * (30 if learnable else 1)


def test_it_can_be_trained_on(tmp_path):
    loaded = reloaded(network(node="linear_lut").eval(), tmp_path / "hard.pt").train()
    x = torch.randn(200, 5)
    y = 2 * (x[:, 0] > 0).long()
    optimizer = torch.optim.Adam(loaded.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        losses.append(torch.nn.functional.cross_entropy(loaded(x), y))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_the_given_network_is_left_as_it_was():
    model = network(layer="learnable").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    hardened(model)
    assert all(module.training for module in model.modules())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("count", [1, 7, 8, 9, 640])
def test_bits_come_back(count):
    bits = torch.rand(count) < 0.5
    assert torch.equal(unpack_bits(pack_bits(bits), count), bits)
    assert pack_bits(torch.tensor([True, False, True])).tolist() == [5]


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t.short(), lambda t: "text"])
def test_tables_that_are_none_are_refused(change, tmp_path):
    path = tmp_path / "hard.pt"
    save_checkpoint(network().eval(), path, hard=True)
    content = read_checkpoint(path)
    content["tables"]["1"] = change(content["tables"]["1"])
    save_sealed(content, path)
    with pytest.raises(CheckpointError, match=r"layer 1 needs 48 table entries|its tables is none"):
        load_checkpoint(path)


def test_a_layer_that_is_missing_is_refused(tmp_path):
    path = tmp_path / "hard.pt"
    save_checkpoint(network().eval(), path, hard=True)
    content = read_checkpoint(path)
    del content["tables"]["0"]
    save_sealed(content, path)
    with pytest.raises(CheckpointError, match=r"layers\.0\.node"):
        load_checkpoint(path)
