import os
import pickle

import pytest
import torch

from difflut.models import CheckpointError, build_model, load_checkpoint, read_checkpoint, save_checkpoint
from difflut.registry import ENCODERS, LAYERS, NODES


def network(encoder="distributive_thermometer", layer="random", node="dwn", **layer_options):
    config = {
        "encoder": {"type": encoder, "params": {"num_bits": 3}},
        "layers": [
            {"type": layer, "node_type": node, "input_size": 15, "output_size": 24, "n": 2, "seed": 1, **layer_options},
            {"type": "random", "node_type": node, "input_size": 24, "output_size": 12, "n": 2, "seed": 2},
        ],
        "groupsum": {"k": 3, "tau": 1.5, "use_randperm": True},
    }
    model = build_model(config)
    model.encoder.fit(torch.randn(200, 5))
    return model


def train_a_little(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.randn(32, 5)), torch.randint(3, (32,))).backward()
        optimizer.step()
    return model


def assert_same_after_reloading(model, path):
    train_a_little(model)
    save_checkpoint(model, path)
    loaded, x = load_checkpoint(path), torch.randn(300, 5)
    assert not loaded.training
    assert torch.equal(loaded(x), model.eval()(x))


@pytest.mark.parametrize("node", NODES)
def test_every_node_type_gives_the_same_bits_when_loaded(node, tmp_path):
    assert_same_after_reloading(network(node=node), tmp_path / "model.pt")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_gives_the_same_bits_when_loaded(encoder, tmp_path):
    assert_same_after_reloading(network(encoder=encoder), tmp_path / "model.pt")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("options", [{}, {"top_k": 4}, {"selection": "soft"}])
def test_every_wiring_gives_the_same_bits_when_loaded(layer, options, tmp_path):
    if layer != "learnable" and options:
        pytest.skip("options of learnable wiring")
    assert_same_after_reloading(network(layer=layer, **options), tmp_path / "model.pt")


def test_training_state_travels_along(tmp_path):
    save_checkpoint(network(), tmp_path / "model.pt", training={"epoch": 3, "rng": torch.get_rng_state()})
    content = read_checkpoint(tmp_path / "model.pt")
    assert content["training"]["epoch"] == 3 and content["versions"]["torch"] == torch.__version__


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    save_checkpoint(network(), path)
    before = path.read_bytes()

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(network(node="hybrid"), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model.pt"]


def test_a_damaged_file_is_a_clear_error(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(network(), path)
    content = bytearray(path.read_bytes())
    for damaged in (content[: len(content) // 2], b"", b"no checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
            load_checkpoint(path)


def test_a_single_wrong_bit_in_the_weights_is_found(tmp_path):
    path = tmp_path / "model.pt"
    model = network()
    save_checkpoint(model, path)
    content = bytearray(path.read_bytes())
    weights = model.layers[0].node.values.detach().numpy().tobytes()
    content[bytes(content).index(weights) + 10] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged, the checksum of"):
        load_checkpoint(path)


def test_other_files_and_unknown_formats_are_clear_errors(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weights": torch.rand(3)}, path)
    with pytest.raises(CheckpointError, match="not a DiffLUT checkpoint"):
        load_checkpoint(path)
    torch.save({"format": 99, "versions": {"difflut": "9.0"}}, path)
    with pytest.raises(CheckpointError, match=r"format 99 of difflut 9.0; this version reads format 1"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt")


class _Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_loading_runs_no_code_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "config": _Bomb()}, "model.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint("model.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(CheckpointError):
        load_checkpoint("plain.pt")
    assert not (tmp_path / "exploded").exists()
