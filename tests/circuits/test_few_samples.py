"""No sample at all, and a single one, in every back end."""

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit, CompiledCircuit, fixed_point_words, pixel_words, write_c
from difflut.circuits.engine import Engine
from difflut.encoders.detectors import edges
from tests.circuits import readers
from tests.circuits.convolutions import convolution
from tests.circuits.networks import network


def model_and_inputs(kind):
    if kind == "dense":
        return network(), torch.randn(3, 5)
    if kind == "learnable":
        return network(layer="learnable", outputs=1), torch.randn(3, 5)
    return convolution(kind, detectors=edges() if kind == "plain" else None)


@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize("kind", ["dense", "learnable", "plain", "pooled", "tree"])
def test_every_back_end_takes_few_samples(kind, samples, tmp_path):
    model, x = model_and_inputs(kind)
    expected = model(x).detach().numpy()[:samples]
    circuit, x = Circuit.from_model(model), x[:samples]
    array = x.numpy()
    assert expected.shape == (samples, 3)
    np.testing.assert_array_equal(model(x).detach().numpy(), expected)
    np.testing.assert_array_equal(circuit(array), expected)
    assert circuit.encode(array).shape == (samples, circuit.num_inputs)
    assert circuit.signals(array).shape == (circuit.num_signals, samples)
    for engine in (Engine(circuit), circuit.engine(threads=1), circuit.engine(threads=2)):
        np.testing.assert_array_equal(engine.logits(array), expected)
        np.testing.assert_array_equal(engine.classes(array), expected.argmax(1))
    words = pixel_words(circuit) if array.dtype == np.uint8 else fixed_point_words(circuit)
    assert words(array).shape == (samples, circuit.sample_size)


@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize("kind", ["dense", "plain"])
def test_training_takes_few_samples(kind, samples):
    model, x = model_and_inputs(kind)
    logits = model.train()(x[:samples])
    logits.sum().backward()
    assert logits.shape == (samples, 3)
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all() and (samples or not parameter.grad.any())


@pytest.mark.needs("cc")
@pytest.mark.parametrize("kind", ["dense", "plain"])
def test_c_takes_few_samples(kind, tmp_path):
    model, x = model_and_inputs(kind)
    circuit = Circuit.from_model(model)
    compiled = CompiledCircuit(write_c(circuit, tmp_path / "net.c"), circuit.sample_size, 3, ["-std=c99", "-O0"])
    for samples in (0, 1, 3):
        array = x[:samples].numpy()
        counts, classes = compiled.counts_and_classes(array)
        np.testing.assert_array_equal(counts, circuit.counts(array))
        np.testing.assert_array_equal(classes, circuit.classes(array))


@pytest.mark.needs("onnx", "onnxruntime")
@pytest.mark.parametrize("kind", ["dense", "plain"])
def test_onnx_takes_few_samples(kind, tmp_path):
    from onnx.reference import ReferenceEvaluator

    from difflut.circuits import write_onnx

    model, x = model_and_inputs(kind)
    circuit = Circuit.from_model(model)
    path = write_onnx(circuit, tmp_path / "net.onnx")
    for samples in (0, 1, 3):
        array = x[:samples].flatten(1).float().numpy()
        counts, classes = readers.by_onnxruntime(path, circuit, None, array)
        np.testing.assert_array_equal(counts, circuit.counts(array))
        np.testing.assert_array_equal(classes, circuit.classes(array))
        np.testing.assert_array_equal(ReferenceEvaluator(str(path)).run(None, {"x": array})[0], circuit(array))
