import math
import os
import pickle
import random
import sys
import zipfile

import pytest
import torch

from difflut.layers import GroupSum
from difflut.models import CheckpointError, build_model, load_checkpoint, read_checkpoint, save_checkpoint, save_sealed
from difflut.models.claims import Allowance
from difflut.registry import ENCODERS, NODES
from tests.layers.making import WIRED


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


@pytest.mark.parametrize("layer", WIRED)
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


def test_what_is_cut_short_or_no_checkpoint_is_a_clear_error(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(network(), path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-1], content + b"x", b"", b"no checkpoint", None):
        path.unlink()
        path.mkdir() if damaged is None else path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged or not a checkpoint|a folder"):
            load_checkpoint(path)


def test_no_flipped_bit_goes_unseen(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(network(), path)
    content = path.read_bytes()
    draw = random.Random(1)
    # The directory of the archive, which torch trusts, lies at its end.
    places = [
        *draw.sample(range(8 * len(content)), 200),
        *draw.sample(range(8 * len(content) - 12_000, 8 * len(content)), 200),
    ]
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(path)


def test_a_file_that_unpacks_to_far_more_is_refused_at_once(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"

    def compressed(content, file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data/0", bytes(2**22))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", compressed)
        patch.setattr(torch, "load", lambda *_, **__: pytest.fail("was unpacked"))
        save_checkpoint(network(), path)
        with pytest.raises(CheckpointError, match="unpack to 4194304"):
            load_checkpoint(path)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_full_disk_names_the_path(tmp_path):
    import resource

    path, model = tmp_path / "model.pt", network()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: '{path}'"):
            save_checkpoint(model, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def contents(model, tmp_path):
    save_checkpoint(model, tmp_path / "model.pt")
    return read_checkpoint(tmp_path / "model.pt")


STATE_FAULTS = {
    "NaN threshold": (
        "encoder.thresholds",
        lambda t: t.index_fill(1, torch.tensor(1), torch.nan),
        "encoder.thresholds",
    ),
    "descending thresholds": ("encoder.thresholds", lambda t: t.flip(1), "ascend"),
    "thresholds of other features": ("encoder.thresholds", lambda t: t[:4], "shape"),
    "features of another layer": ("encoder._extra_state", lambda t: torch.tensor([7]), "shape"),
    "wiring too high": ("layers.0.mapping", lambda t: t + 14, "reads inputs"),
    "wiring below 0": ("layers.1.mapping", lambda t: t - 1, "reads inputs"),
    "NaN weight": ("layers.1.node.values", lambda t: t * torch.nan, "layers.1.node.values"),
    "permutation of another length": ("groupsum.permutation", lambda t: t[:3].argsort(), "permutes 3"),
    "no permutation": ("groupsum.permutation", lambda t: t * 0, "permutation"),
    "no tensor": ("layers.0.mapping", lambda t: "text", "state"),
    "missing": ("layers.0.mapping", None, "mapping"),
}


@pytest.mark.parametrize("key,change,message", STATE_FAULTS.values(), ids=STATE_FAULTS)
def test_a_state_that_is_no_network_is_refused(key, change, message, tmp_path):
    model = network()
    model(torch.randn(4, 5))
    content = contents(model, tmp_path)
    value = content["state"].pop(key)
    if change:
        content["state"][key] = change(value)
    save_sealed(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("candidate", [-1, 15])
def test_candidates_that_are_no_inputs_are_refused(candidate, tmp_path):
    content = contents(network(layer="learnable", top_k=4), tmp_path)
    content["state"]["layers.0.candidates"][5, 2] = candidate
    save_sealed(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="reads inputs"):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda config: config["layers"][0].update(output_size=10**12),
            r"layers\[0\].output_size: 1000000000000 is",
        ),
        (lambda config: config["layers"][1].update(input_size=10**12), r"layers\[1\].input_size: 1000000000000 is"),
        (lambda config: config["encoder"]["params"].update(num_bits=10**9), "encoder.params.num_bits: 1000000000"),
        (lambda config: config["groupsum"].update(k=10**9), "groupsum.k: 1000000000"),
    ],
)
def test_sizes_that_a_file_cannot_be_of_are_refused_before_memory_is_taken(change, message, tmp_path, monkeypatch):
    content = contents(network(layer="learnable"), tmp_path)
    change(content["config"])
    save_sealed(content, tmp_path / "model.pt")
    monkeypatch.setattr("difflut.models.checkpoint.build_model", None)  # which would take it
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("encoder.params.num_bits", 2**24),  # its square
        ("layers.0.input_size", [2**22, 4, 4]),  # channels, times pixels of a window and pins
        ("layers.1.node_params.hidden_width", 2**13),  # its square, times nodes
    ],
)
def test_products_that_a_file_cannot_be_of_are_refused_before_memory_is_taken(key, size, tmp_path):
    conv = {
        "type": "learnable",
        "node_type": "dwn",
        "input_size": [1, 4, 4],
        "output_size": 8,
        "n": 2,
        "kernel_size": 3,
    }
    wide = {"type": "random", "node_type": "neurallut", "output_size": 12, "n": 2, "node_params": {}}
    config = {
        "encoder": {"type": "thermometer", "params": {"num_bits": 1}},
        "layers": [conv, wide],
        "groupsum": {"k": 3},
    }
    content = contents(build_model(config), tmp_path)
    *path, name = key.split(".")
    part = content["config"]
    for step in path:
        part = part[int(step) if step.isdigit() else step]
    part[name] = size
    save_sealed(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"far more numbers than \d+ bytes of weights"):
        load_checkpoint(tmp_path / "model.pt")


def test_numbers_of_many_tensors_add_up_and_those_of_views_do_not():
    with Allowance(0):
        torch.ones(1).expand(2**40)
    with pytest.raises(ValueError, match="far more numbers than 0 bytes of weights"), Allowance(0):
        for _ in range(40):
            torch.empty(2**22)


def test_an_operation_counts_what_it_makes_and_not_what_its_shapes_could_be_multiplied_to():
    generator = torch.Generator().manual_seed(0)
    entries, rows = torch.rand(2**20, 4, generator=generator), torch.randint(2**20, (2**18,), generator=generator)
    with Allowance(0):
        assert (entries[:, None] @ torch.ones(4, 16)).shape == (2**20, 1, 16)
        assert entries[rows].shape == (2**18, 4)
        assert entries.new_zeros(2**20, 2).shape == (2**20, 2)
        assert entries[entries > 0.5].dim() == 1


@pytest.mark.parametrize("log_tau", [math.inf, -math.inf, math.nan])
def test_a_temperature_that_is_none_is_refused(log_tau, tmp_path):
    model = network()
    model.groupsum = GroupSum(3, 2.0, learn_tau=True)
    content = contents(model, tmp_path)
    content["state"]["groupsum.log_tau"].fill_(log_tau)
    save_sealed(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"temperature|log_tau"):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "key,value",
    [
        ("state", None),
        ("state", [1]),
        ("state", {"layers.0.mapping": 3}),
        ("config", "text"),
        ("config", {"layers": [{}]}),
        ("config", {"layers": 7}),
        ("versions", None),
        ("training", 3),
        ("format", "2"),
        ("format", torch.tensor([2, 2])),
        ("format", None),
        ("format", True),
    ],
)
def test_parts_that_are_none_are_one_kind_of_error(key, value, tmp_path):
    content = contents(network(), tmp_path)
    save_sealed(content | {key: value}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'model.pt'}: "):
        load_checkpoint(tmp_path / "model.pt")


def test_other_files_and_unknown_formats_are_clear_errors(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weights": torch.rand(3)}, path)
    with pytest.raises(CheckpointError, match=r"not a checkpoint of this version.*it carries none"):
        load_checkpoint(path)
    save_sealed({"weights": torch.rand(3)}, path)
    with pytest.raises(CheckpointError, match="not a DiffLUT checkpoint"):
        load_checkpoint(path)
    for versions, name in (({"difflut": "9.0"}, "9.0"), (None, "unknown"), ([], "unknown")):
        save_sealed({"format": 99, "versions": versions}, path)
        with pytest.raises(CheckpointError, match=f"format 99 of difflut {name}; this version reads format 2"):
            load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt")


class _Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_loading_runs_no_code_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_sealed({"format": 2, "config": _Bomb()}, "model.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint("model.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(CheckpointError):
        load_checkpoint("plain.pt")
    assert not (tmp_path / "exploded").exists()
