import hashlib
import io
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit, CompiledCircuit, write_c
from difflut.pretrained import ModelError, folder_of, names, read_model, write_model
from difflut.pretrained import load as load_anew
from tests.circuits.convolutions import convolution

MOST_BYTES = 6 * 2**20  # of a model that comes along
load = cache(load_anew)


@pytest.mark.parametrize("name", names())
def test_a_model_computes_the_votes_of_its_vectors(name):
    model = load(name)
    assert repr(model) == f"Pretrained({name!r}: {model.card['description']})"
    with torch.no_grad():
        logits = model.network(torch.from_numpy(model.x)).numpy()
    np.testing.assert_array_equal(np.rint(logits * model.circuit.tau), model.counts)
    np.testing.assert_array_equal(model.circuit.counts(model.x), model.counts)
    np.testing.assert_array_equal(model.circuit.engine(threads=1).counts(model.x), model.counts)
    # One in a thousand cases is further from the accuracy on all test rows than this.
    right, said = (model.counts.argmax(1) == model.y).mean(), model.card["accuracy"]
    assert abs(right - said) < 3.3 * np.sqrt(said * (1 - said) / len(model.y)) + 1 / len(model.y)


@pytest.mark.needs("cc")
def test_the_c_of_a_model_computes_the_votes_of_its_vectors(tmp_path):
    model = load("digits-2000")
    write_c(model.circuit, tmp_path / "circuit.c")
    compiled = CompiledCircuit(tmp_path / "circuit.c", model.circuit.num_features, model.circuit.num_classes)
    np.testing.assert_array_equal(compiled.counts_and_classes(model.x)[0], model.counts)


@pytest.mark.parametrize("name", names())
def test_a_card_says_what_a_user_asks(name):
    folder, card = folder_of(name), load(name).card
    assert card["name"] == name and card["command"].startswith("difflut --gin_file ")
    assert card["samples"] >= 100 and 0.5 < card["accuracy"] < 1 and {"numpy", "C"} <= set(card["compared"])
    assert card["luts"] == sum(card[f"luts_{part}"] for part in ("tables", "popcount", "argmax", "encoder"))
    assert card["licence"] and card["data_licence"] and card["description"]
    assert set(card["sha256"]) == {path.name for path in folder.iterdir()} - {"card.json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES
    assert "'/" not in (folder / "config.gin").read_text()  # no path of the machine that trained it


def test_the_page_lists_the_models_as_their_cards_do():
    page = (Path(__file__).parents[2] / "docs" / "tasks" / "models.md").read_text()
    for card in (load(name).card for name in names()):
        said = f"| {100 * card['accuracy']:.2f} | {card['samples']:,} | {card['luts']:,} |"
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{card['name']}` {said}"))
        assert f"| {card['description']} | {card['data_licence']} |" in row
        if "stream_luts" in card:
            numbers = (card[f"stream_{name}"] for name in ("luts", "flip_flops", "blocks", "cycles"))
            assert f"| `{card['name']}` | {' | '.join(f'{number:,}' for number in numbers)} |" in page
    streams = sum("stream_luts" in load(name).card for name in names())
    assert page.count("| `") - page.count("| `model.") == len(names()) + streams > len(names()) + 3


@pytest.fixture
def written(tmp_path):
    network, images = convolution("pooled")
    card = {"name": "small", "dataset": "none", "classes": ["a", "b", "c"]}
    x, y = images[:20].numpy(), np.arange(20) % 3
    return write_model(tmp_path / "small", network, Circuit.from_model(network), card, x, y), network, images


def test_what_is_written_is_read(written):
    folder, network, images = written
    model = load_anew(folder)
    assert model.name == "small" and torch.equal(model.network(images), network(images))
    np.testing.assert_array_equal(model.counts, model.circuit.counts(images[:20].numpy()))
    np.testing.assert_array_equal(model.y, np.arange(20) % 3)


def test_a_large_circuit_is_made_from_the_network(written, monkeypatch):
    folder, network, images = written
    monkeypatch.setattr("difflut.pretrained.model.LARGEST_CIRCUIT", 1000)
    card = json.loads((folder / "card.json").read_text())
    write_model(folder, network, Circuit.from_model(network), card, images[:20].numpy(), np.zeros(20, int))
    assert not (folder / "circuit.npz").exists()
    x = images.numpy()
    np.testing.assert_array_equal(read_model(folder).circuit(x), network(images).detach().numpy())


@pytest.mark.parametrize("file", ["best.pt", "circuit.npz", "vectors.npz"])
def test_a_file_that_is_missing_or_changed_is_refused(written, file):
    folder, *_ = written
    path = folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{file}: damaged"):
        load_anew(folder)
    path.unlink()
    with pytest.raises(ModelError, match=f"{file}: missing"):
        load_anew(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": {"best.pt": "0"}}'])
def test_a_card_that_is_none_is_refused(written, text):
    folder, *_ = written
    (folder / "card.json").write_text(text)
    with pytest.raises(ModelError, match=r"card\.json: (cannot be read|no card)"):
        load_anew(folder)


def sealed(folder, name, content):
    """Puts content in the place of a file of a model, with its digest in the card."""
    (folder / name).write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def arrays(**changes):
    content, random = io.BytesIO(), np.random.default_rng(0)
    whole = {
        "x": random.integers(256, size=(4, 6, 5, 2), dtype=np.uint8),
        "y": random.integers(3, size=4),
        "counts": random.integers(9, size=(4, 3)),
    }
    np.savez(content, **{name: array for name, array in (whole | changes).items() if array is not None})
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("best.pt", b"no checkpoint"),
        ("circuit.npz", b"no circuit"),
        ("vectors.npz", b"no arrays"),
        ("vectors.npz", arrays(x=None)),
        ("vectors.npz", arrays(z=np.ones(1))),
        ("vectors.npz", arrays(x=np.array(["text", None], object))),
        ("vectors.npz", arrays(x=np.ones((4, 61)))),
        ("vectors.npz", arrays(x=np.ones(()))),
        ("vectors.npz", arrays(y=np.ones(3, int))),
        ("vectors.npz", arrays(counts=np.ones((4, 2), int))),
    ],
)
def test_files_that_are_no_model_are_refused_though_their_digests_are_right(written, name, content):
    folder, *_ = written
    sealed(folder, "vectors.npz", arrays())
    assert load_anew(folder).x.shape == (4, 6, 5, 2)
    sealed(folder, name, content)
    with pytest.raises(ModelError, match="its card fits the files, and these are no model"):
        load_anew(folder)


def test_a_card_reads_no_file_elsewhere(written):
    folder, *_ = written
    (folder.parent / "secret").write_bytes(b"secret")
    sealed(folder, "../secret", b"secret")
    with pytest.raises(ModelError, match=r"'../secret' is no file beside it"):
        load_anew(folder)


def test_a_name_that_is_none_has_its_like_named(tmp_path):
    with pytest.raises(ModelError, match=r"mnist-5: no model, .*; did you mean 'mnist-4000' or"):
        load_anew("mnist-5")
    shutil.copytree(folder_of("digits-2000"), tmp_path / "mine")
    assert load_anew(tmp_path / "mine").name == "digits-2000"
