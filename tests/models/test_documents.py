import json
from math import inf

import pytest

from difflut.models import ConfigError, LUTNetwork, build_model, describe
from difflut.models.documents import read_document
from difflut.registry import ENCODERS, LAYERS, NODES, REGULARIZERS


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
        return read_document(tmp_path / "a.yaml")

    return read


@pytest.mark.parametrize(
    "text,value",
    [
        ("1e-05", 1e-05), ("1e1", 10.0), ("-3E4", -3e4), ("+.5e+2", 50.0), ("1.", 1.0), (".1e-7", 1e-8), (".inf", inf),
        ("12", 12), ("-7", -7), ("012", 12), ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("off", "off"), ("1:30", "1:30"), ("1_000", "1_000"), ("0x1f", "0x1f"), ("1e", "1e"),
        ('"1e5"', "1e5"), ("'true'", "true"), ("2024-01-01", "2024-01-01"), ("[1e5, x]", [1e5, "x"]), ("ü", "ü"),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_json(read, text, value):
    found = read(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text", ["{a: 1, b: 2, a: 3}", "x: [{k: 1, k: 1}]", '{"a": 1,\n "a": 2}', "1: a\n1: b"])
def test_a_key_that_is_there_twice_is_refused_with_its_line(read, text):
    with pytest.raises(ValueError, match=r"line \d.*: the key '\w' is there twice; leave one out"):
        read(text)


@pytest.mark.parametrize("text", ["!!python/object/apply:os.getcwd []", "a: b: c", "[1", "\x00"])
def test_what_is_no_plain_data_is_refused(read, text):
    with pytest.raises(ValueError, match="neither YAML nor JSON"):
        read(text)


def test_a_description_in_json_gives_the_same_network_however_small_its_numbers(tmp_path):
    encoder = ENCODERS["thermometer"](num_bits=2)
    config = {"regularizers": {"l2": (REGULARIZERS["l2"], 3e-7)}}
    small = {"flip_probability": 1e-5}
    layers = [LAYERS["random"](8, 6, NODES["dwn"], n=2, node_kwargs=config, layer_config=small, seed=1)]
    told = describe(LUTNetwork(encoder, layers))
    path = tmp_path / "model.json"
    path.write_text(json.dumps(told))
    assert "1e-05" in path.read_text() and describe(build_model(path)) == told
    path.write_text('{"layers": [], "layers": []}')
    with pytest.raises(ConfigError, match=r"model\.json: .*the key 'layers' is there twice"):
        build_model(path)
