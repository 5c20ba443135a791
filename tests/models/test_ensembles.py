import pytest
import torch

from difflut.circuits import Circuit
from difflut.layers import GroupSum
from difflut.models import ensemble, hardened, load_checkpoint, save_checkpoint
from tests.circuits.convolutions import KINDS, convolution


def members(kind, count=3):
    """Networks of different tables and wirings, with the same encoder."""
    first, images = convolution(kind)
    others = [convolution(kind, seed=seed)[0] for seed in range(1, count)]
    for other in others:
        other.encoder.load_state_dict(first.encoder.state_dict())
    return [first, *others], images


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_mean_of_all(kind, tmp_path):
    networks, images = members(kind)
    together = ensemble(networks).eval()
    expected = torch.stack([network(images) for network in networks]).mean(0)
    assert not torch.equal(networks[0](images).argmax(1), expected.argmax(1))
    assert torch.allclose(together(images), expected)
    assert torch.equal(hardened(together)(images), together(images))
    assert (Circuit.from_model(together).classes(images.numpy()) == together(images).argmax(1).numpy()).all()
    save_checkpoint(together, tmp_path / "together.pt")
    assert torch.equal(load_checkpoint(tmp_path / "together.pt")(images), together(images))
    assert together.num_luts == sum(network.num_luts for network in networks)


def test_members_are_left_as_they_were():
    networks = members("heads", 2)[0]
    before = [(layer.name, layer.reads) for network in networks for layer in network.layers]
    together = ensemble(networks)
    torch.nn.init.uniform_(next(together.layers[0].parameters()))
    assert before == [(layer.name, layer.reads) for network in networks for layer in network.layers]
    assert not torch.equal(next(together.layers[0].parameters()), next(networks[0].layers[0].parameters()))


def test_networks_that_do_not_fit_are_refused():
    networks = members("plain", 2)[0]
    with pytest.raises(ValueError, match=r"networks=\[\] must hold at least one"):
        ensemble([])
    other = convolution("plain", seed=5)[0]
    with pytest.raises(ValueError, match=r"networks\[1\] has another encoder than networks\[0\], or other thresholds"):
        ensemble([networks[0], other])
    networks[1].groupsum = GroupSum(3, 4.0)
    with pytest.raises(ValueError, match=r"networks\[1\] counts 3 classes with tau=4.0, networks\[0\] 3 with tau=2.5"):
        ensemble(networks)
    networks[1].groupsum = GroupSum(3, 2.5, learn_tau=True)
    with pytest.raises(ValueError, match=r"networks\[1\]: an ensemble needs use_randperm=False and a fixed tau"):
        ensemble(networks)
    networks[1].groupsum = None
    with pytest.raises(ValueError, match=r"networks\[1\] has no group sum"):
        ensemble(networks)
