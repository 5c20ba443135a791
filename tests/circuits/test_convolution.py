from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from difflut.circuits import (
    Circuit,
    CompiledCircuit,
    estimate_cost,
    pixel_words,
    prove,
    simplify,
    simulate,
    write_c,
    write_testbench,
    write_verilog,
)
from difflut.circuits.arithmetic.stencils import find_stencils
from difflut.circuits.engine.cpu import CpuEngine
from difflut.circuits.engine.cuda import arranged, chunks
from difflut.models import network
from difflut.registry import ENCODERS, LAYERS, NODES
from tests.circuits.convolutions import KINDS, convolution
from tests.circuits.networks import random_circuit
from tests.circuits.test_engine_cuda import counts_of_chunks


def circuit_and_images(*args, **kwargs):
    model, images = convolution(*args, **kwargs)
    return Circuit.from_model(model), images.numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 4, 6, 7])
def test_a_network_of_convolutions_is_its_circuit_before_and_after_simplification(kind, n):
    model, images = convolution(kind, n=n, seed=n)
    with torch.no_grad():
        logits = model(images).numpy()
    assert logits.std(0).max() > 0.1
    circuit = Circuit.from_model(model)
    smaller, _ = simplify(circuit)
    assert smaller.num_luts <= circuit.num_luts
    np.testing.assert_array_equal(circuit(images.numpy()), logits)
    np.testing.assert_array_equal(smaller(images.numpy()), logits)


@pytest.mark.needs("c++")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 6, 7])
def test_engines_agree(kind, n):
    circuit, images = circuit_and_images(kind, n=n)
    counts = circuit.counts(images)
    for bits, assemble in ((512, True), (512, False), (64, False)):
        np.testing.assert_array_equal(CpuEngine(circuit, 1, bits, assemble).counts(images), counts)
    grouped = CpuEngine(circuit, 1, extra_flags=("-DDIFFLUT_MOST_CODE=0",))
    np.testing.assert_array_equal(grouped.counts(images), counts)
    for by_part in (False, True):
        np.testing.assert_array_equal(counts_of_chunks(circuit, images.reshape(200, -1), 64, 6, 16, by_part), counts)


@pytest.mark.needs("cc")
@pytest.mark.parametrize("kind", KINDS)
def test_c_agrees(kind, tmp_path):
    circuit, images = circuit_and_images(kind)
    for each in (circuit, simplify(circuit)[0]):
        flags = ["-std=c99", "-O0", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        compiled = CompiledCircuit(write_c(each, tmp_path / "c.c"), each.num_features, each.num_classes, flags)
        np.testing.assert_array_equal(compiled.counts_and_classes(images)[0], circuit.counts(images))


@pytest.mark.needs("pyosys")
@pytest.mark.needs("iverilog")
@pytest.mark.parametrize("kind", ["skips", "pooled"])
def test_verilog_agrees_and_is_proven(kind, tmp_path):
    circuit, images = circuit_and_images(kind, n=2)
    words = pixel_words(circuit)
    design = write_verilog(circuit, tmp_path, words, ["layer1"])
    write_testbench(design, images[:30], circuit.counts(images[:30]), circuit.classes(images[:30]))
    assert simulate(design, "iverilog").mismatches == 0
    assert prove(circuit, words)


def test_placements_share_tables_and_borders_have_their_own():
    circuit, _ = circuit_and_images("plain", n=4)
    assert circuit.num_luts == 6 * 30 + 5 * 15 + 30
    assert len(circuit.tables) == len(np.unique(circuit.tables, axis=0)) < 6 * 9 + 5 + 30
    assert sum(estimate_cost(circuit).layers) == circuit.num_luts
    outside = (circuit.wiring[: 6 * 30] < 0).any(1).reshape(6, 6, 5)
    assert outside[:, [0, -1]].any() and outside[:, :, [0, -1]].any() and not outside[:, 1:-1, 1:-1].any()


@pytest.mark.needs("c++")
def test_a_large_circuit_goes_down_the_image_in_parts():
    torch.manual_seed(0)
    bank = partial(LAYERS["random"], node_type=NODES["dwn"], n=6)
    first = partial(bank, output_size=60, kernel_size=3, padding=1)
    encoder = ENCODERS["thermometer"](num_bits=1).fit(torch.randint(256, (50, 24, 24, 1), dtype=torch.uint8))
    layers = [first, partial(first, kernel_size=2, padding=0), partial(bank, output_size=6000)]
    model = network((24, 24, 1), 2, encoder, layers)
    circuit = Circuit.from_model(model.eval())
    images = np.random.default_rng(0).integers(256, size=(70, 24, 24, 1), dtype=np.uint8)
    engine, interpreted = circuit.engine(threads=1), CpuEngine(circuit, 1, assemble=False)
    assert circuit.num_luts > 60_000 and "interpreted" in interpreted.name
    assert "512 bits, machine code" in engine.name or not engine.name.startswith("CPU engine (512")
    for each in (engine, interpreted):
        np.testing.assert_array_equal(each.counts(images), circuit.counts(images))
    whole, parts = (chunks(arranged(circuit)[0], 2, 384, 1, 32, by_part)["num_places"] for by_part in (False, True))
    assert parts < 0.6 * whole


def test_stencils_are_the_luts_and_a_convolution_has_few_lists_of_places():
    circuit, _ = circuit_and_images("plain", n=4)
    for each in (circuit, random_circuit(1), replace(circuit, table_of=np.zeros_like(circuit.table_of))):
        found, seen = find_stencils(each), []
        for first, number in zip(found.first, found.list_of, strict=True):
            places = slice(*found.start[number : number + 2])
            luts = first + found.writes[places]
            pins = each.wiring[first] + found.reads[places, None]
            np.testing.assert_array_equal(each.wiring[luts], np.where(each.wiring[first] < 0, -1, pins))
            assert len(set(each.table_of[luts])) == len(set(each.layers[luts])) == 1
            seen += luts.tolist()
        assert sorted(seen) == list(range(each.num_luts)) and (np.diff(each.layers[found.first]) >= 0).all()
    found = find_stencils(circuit)
    assert (found.first < 6 * 30).sum() <= 6 * 9 and len(found.start) - 1 <= 2 * 9 + 1


@pytest.mark.needs("cc")
def test_c_of_a_large_convolution_is_small(tmp_path):
    circuit, images = circuit_and_images("plain", n=4, shape=(60, 60, 2))
    source = write_c(circuit, tmp_path / "c.c")
    behind_the_encoder = source.read_text().partition("TABLE[]")[2]
    assert circuit.num_luts > 30_000 and len(behind_the_encoder) < 300_000
    compiled = CompiledCircuit(source, circuit.num_features, circuit.num_classes)
    np.testing.assert_array_equal(compiled.counts_and_classes(images[:70])[0], circuit.counts(images[:70]))
