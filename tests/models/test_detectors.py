import gin
import pytest
import torch
import yaml

import experiments  # noqa: F401  registers the job
from difflut import config
from difflut.encoders import DistributiveThermometer
from difflut.encoders.detectors import colours, edges
from difflut.encoders.responses import with_responses
from difflut.models import ConfigError, LUTNetwork, build_model, describe, load_checkpoint, save_checkpoint
from tests.circuits.convolutions import KINDS, convolution

OWN = [[[1, 0, -1]], [[0, 2, 0]]]
FILE = f"""
network.encoder = @encoders.distributive_thermometer()
encoders.distributive_thermometer.num_bits = 2
encoders.distributive_thermometer.detectors = %DETECTORS
DETECTORS = [@detectors.edges(), @coarse/detectors.edges(), @detectors.colours(), %OWN]
coarse/detectors.edges.box = 2
coarse/detectors.edges.channels = [1, -1, 0]
OWN = {OWN}
network.layers = [@layers.random]
layers.random.output_size = 6
layers.random.kernel_size = 3
layers.random.node_type = @nodes.dwn
run.job = @train
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_reads_responses_beside_the_colours(kind, tmp_path):
    some = [*edges(), *colours([[2, -1]], box=2)]
    model, images = convolution(kind, detectors=some)
    assert model.layers[0].input_shape == ((2 + 6) * 3, 6, 5)
    plain = DistributiveThermometer(3).fit(with_responses(images, some))
    features, logits = with_responses(images, some), model(images)
    assert torch.equal(logits, LUTNetwork(plain, list(model.layers), model.groupsum).eval()(features))
    assert logits.unique().numel() > 3
    for hard in (False, True):
        save_checkpoint(model, tmp_path / "model.pt", hard=hard)
        loaded = load_checkpoint(tmp_path / "model.pt")
        assert loaded.encoder.detectors == some and torch.equal(loaded(images), logits)


def test_gin_and_descriptions_say_which_detectors_there_are(tmp_path):
    (tmp_path / "net.gin").write_text(FILE)
    config.parse([str(tmp_path / "net.gin")])
    model = gin.get_configurable("network")(input_shape=(6, 5, 3), num_classes=3, seed=0)
    assert model.encoder.detectors == [*edges(), *edges([1, -1, 0], box=2), *colours(), OWN]
    assert model.layers[0].input_shape == (16 * 2, 6, 5)
    text = yaml.safe_dump(describe(model))
    assert describe(build_model(yaml.safe_load(text))) == describe(model)


def test_wrong_detectors_are_errors_before_any_work(tmp_path):
    description = describe(convolution(detectors=edges())[0])
    description["encoder"]["params"]["detectors"] = [[[1, 2]]]
    with pytest.raises(ConfigError, match=r"encoder.params: detectors\[0\] must be lists"):
        build_model(description)
    (tmp_path / "net.gin").write_text(FILE.replace("@detectors.edges(),", "@detectors.edgs(),"))
    with pytest.raises(config.ConfigurationError, match=r"'@detectors.edgs\(\)'; did you mean 'detectors.edges'"):
        config.parse([str(tmp_path / "net.gin")])
    (tmp_path / "net.gin").write_text(FILE)
    config.parse([str(tmp_path / "net.gin")])
    with pytest.raises(ValueError, match=r"detectors .*need images .*; got \(30,\)"):
        gin.get_configurable("network")(input_shape=(30,), num_classes=3, seed=0)
