from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import (
    Circuit,
    CompiledCircuit,
    estimate_cost,
    fixed_point_words,
    pixel_words,
    prove,
    simplify,
    simulate,
    synthesize,
    write_c,
    write_testbench,
    write_verilog,
)
from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.encoding import add_encoder, bit_costs, count_encoder, sum_costs
from difflut.circuits.arithmetic.features import add_sum
from difflut.circuits.arithmetic.netlist import netlist
from difflut.circuits.arithmetic.tables import Tables
from difflut.circuits.circuit.detectors import response_sums
from difflut.circuits.circuit.files import write_arrays
from difflut.circuits.circuit.sums import WeightedSums
from difflut.circuits.engine import Engine, make_engine
from difflut.circuits.engine.sums import DeviceSums
from difflut.encoders.detectors import colours, edges
from difflut.encoders.responses import with_responses
from tests.circuits.convolutions import KINDS, convolution
from tests.circuits.networks import random_circuit
from tests.circuits.test_formats import assert_read_alike, every_format
from tests.encoders.test_detectors import images, kernels

STRICT = ["-std=c99", "-O0", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def summed_circuit(seed, **options):
    """A random circuit that compares pixels, sums of pixels, and sums of such sums, with terms missing."""
    rng, circuit = np.random.default_rng(seed), random_circuit(seed, **options)
    sources = rng.integers(-1, 5 + np.arange(8)[:, None], (8, 3))
    weights = rng.integers(1, 8, sources.shape) * rng.choice([-1, 1], sources.shape)
    sources[5], weights[6] = -1, -np.abs(weights[6])
    features = np.array([9, rng.integers(5), 12, 11])
    sums = WeightedSums(5, sources, weights, features)
    low, high = (ends[features, None] for ends in sums.ranges)
    thresholds = np.sort(rng.uniform(low - 0.3, high + 0.3, circuit.thresholds.shape), 1).astype(np.float32)
    return replace(circuit, thresholds=np.where(rng.random((4, 1)) < 0.5, np.round(thresholds), thresholds), sums=sums)


def pixels(circuit, samples=120, seed=0):
    return np.random.default_rng(seed).integers(256, size=(samples, circuit.sample_size), dtype=np.uint8)


def between(x):
    """Floats that are taken for these pixels."""
    near = np.where(x % 2 == 0, x.astype(np.float32) - 0.75, x).astype(np.float32)
    near[x == 255], near[x == 0] = np.inf, np.nan
    return near


def detecting(kind="plain", n=4, detectors=None):
    model, x = convolution(
        kind, n=n, detectors=detectors or [*edges(), *colours([[2, -1]], box=2), [[[1, -3], [2, 5]]]]
    )
    return model, Circuit.from_model(model), x


@pytest.mark.parametrize("shape", [(6, 5, 3), (2, 7, 3), (1, 1, 3)])
def test_sums_are_the_responses(shape):
    some = [*kernels(), *edges(), *edges([1, -2, 0], box=2, spacing=2), *colours()]
    sums, x = response_sums(some, shape), images(40, *shape)
    np.testing.assert_array_equal(sums(x.numpy()), with_responses(x, some).flatten(1).numpy())
    low, high = sums.ranges
    found = sums(x.numpy())
    assert (found >= low[sums.features]).all() and (found <= high[sums.features]).all()
    lowest, bits = sums.words
    assert (low >= lowest).all() and (high < lowest + 2.0**bits).all()
    assert (low >= 0).sum() > 3 or shape == (1, 1, 3)


def test_what_several_detectors_add_is_there_once():
    assert response_sums(edges(), (6, 5, 3)).num_sums == 30 * 6
    assert response_sums([*edges(), *edges(box=2)], (6, 5, 3)).num_sums == 30 * 11 + 6 * 6 + 7 * 6
    assert response_sums(edges([0, 1, 0]), (6, 5, 3)).num_sums == 30 * 5
    assert response_sums(edges(), (6, 5, 1)).num_sums == 30 * 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_detectors_is_its_circuit_before_and_after_simplification(kind):
    model, circuit, x = detecting(kind)
    smaller = simplify(circuit)[0]
    assert smaller.num_luts < circuit.num_luts
    for form in (x, x.float(), torch.from_numpy(between(x.numpy()))):
        expected = model(form).numpy()
        np.testing.assert_array_equal(circuit(form.numpy()), expected)
        np.testing.assert_array_equal(smaller(form.numpy()), expected)


def test_blocks_of_any_size_are_the_same(monkeypatch):
    circuit = summed_circuit(0)
    x = pixels(circuit)
    expected = circuit.sums(x)
    monkeypatch.setattr("difflut.circuits.circuit.sums.ROOM", 200)
    np.testing.assert_array_equal(circuit.sums(x), expected)


@pytest.mark.parametrize("seed", range(6))
def test_other_devices_give_the_same_sums(seed, monkeypatch):
    monkeypatch.setattr("difflut.circuits.engine.sums.ROOM", 500)
    circuit = summed_circuit(seed)
    x = pixels(circuit)
    for device in ["cpu", *["cuda"] * torch.cuda.is_available()]:
        for form in (x, between(x)):
            parts = dict((rows.start, part.cpu()) for rows, part in
                         DeviceSums(circuit.sums, device).parts(torch.from_numpy(form).to(device)))  # fmt: skip
            assert len(parts) > 1
            np.testing.assert_array_equal(torch.cat(list(parts.values())), circuit.sums(x))


def test_what_exceeds_a_pixel_by_less_than_float32_tells_is_that_pixel():
    circuit = summed_circuit(0)
    x = pixels(circuit).clip(1, 254)
    np.testing.assert_array_equal(circuit.sums(x + 1e-9), circuit.sums(x))
    assert (circuit.sums(x + 1e-3) != circuit.sums(x)).any(1).all()


@pytest.mark.parametrize("kind", ["int8", "int16", ">i8"])
def test_integers_of_every_kind_are_taken(kind):
    sums = summed_circuit(1).sums
    other = replace(sums, sources=sums.sources.astype(kind), features=sums.features.astype(kind))
    x = pixels(summed_circuit(1))
    found = [part.numpy() for _, part in DeviceSums(other, "cpu").parts(torch.from_numpy(x))]
    np.testing.assert_array_equal(np.concatenate(found), sums(x))
    np.testing.assert_array_equal(other(x), sums(x))


@pytest.mark.needs("c++")
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.needs("cuda"))])
def test_engines_agree(device, monkeypatch):
    monkeypatch.setattr("difflut.circuits.engine.sums.ROOM", 1000)
    for circuit in (*map(summed_circuit, range(4)), *(detecting(kind)[1] for kind in ("pooled", "skips"))):
        x = pixels(circuit)
        for engine in (Engine(circuit), make_engine(circuit, device), make_engine(simplify(circuit)[0], device)):
            for form in (x, between(x), x[:0]):
                np.testing.assert_array_equal(engine.counts(form), circuit.counts(x[: len(form)]))
                np.testing.assert_array_equal(engine.classes(form), circuit.classes(x[: len(form)]))
        for made in (circuit, make_engine(circuit, device)):
            with pytest.raises(ValueError, match=f"the circuit has {circuit.sample_size} features, x has 2"):
                made.counts(x[:, :2])


@pytest.mark.needs("cc")
@pytest.mark.parametrize("seed", range(3))
def test_c_agrees(seed, tmp_path):
    for circuit in (summed_circuit(seed), detecting(KINDS[seed])[1]):
        x = pixels(circuit, 600)
        compiled = CompiledCircuit(write_c(circuit, tmp_path / "c.c"), circuit.sample_size, circuit.num_classes, STRICT)
        for form in (x, between(x)):
            np.testing.assert_array_equal(compiled.counts_and_classes(form)[0], circuit.counts(x))


@every_format
def test_other_tools_read_sums(ending, tmp_path):
    for seed in range(3):
        circuit = summed_circuit(seed)
        assert_read_alike(ending, circuit, pixels(circuit, 50), pixel_words(circuit), tmp_path)
    assert_read_alike(ending, simplify(circuit)[0], pixels(circuit, 50), None, tmp_path)


@pytest.mark.needs("pyosys", "iverilog")
@pytest.mark.parametrize("seed", [0, 1, None])
def test_verilog_agrees_and_is_proven(seed, tmp_path):
    circuit = detecting("skips", 2, edges()[:2])[1] if seed is None else summed_circuit(seed)
    words, x = fixed_point_words(circuit), pixels(circuit)
    assert words.exact and words.pixels and words.width == 8
    design = write_verilog(circuit, tmp_path, words, True)
    write_testbench(design, between(x), circuit.counts(x), circuit.classes(x))
    assert simulate(design, "iverilog").mismatches == 0
    assert prove(circuit, words)


class AskedWords(dict):
    """Words of features whose bits are what they are called; those asked for are there afterwards."""

    def __init__(self, circuit, words):
        self.values, self.widths = circuit.sums.features.tolist(), words.compared.tolist()

    def __missing__(self, feature):
        return self.setdefault(feature, [f"v{self.values[feature]}_{bit}" for bit in range(self.widths[feature])])


def added(sums, values):
    """The tables of the sums that values are made of, each added by itself."""
    total, (lowest, bits), asked = 0, sums.words, set(values)
    for value in range(len(bits) - 1, sums.inputs - 1, -1):
        if value in asked:
            terms = list(zip(*(of[value - sums.inputs].tolist() for of in (sums.sources, sums.weights)), strict=True))
            asked |= {source for source, _ in terms}
            terms = [([f"v{at}_{bit}" for bit in range(bits[at])], lowest[at], by) for at, by in terms if at >= 0]
            tables = Tables("w")
            add_sum(tables, terms, lowest[value], bits[value])
            total += len(tables.made)
    return total


@pytest.mark.parametrize("seed", range(6))
def test_tables_of_the_encoder_are_counted_as_they_are_added(seed):
    shared = summed_circuit(seed)
    shared = replace(shared, sums=replace(shared.sums, features=shared.sums.features[[0, 1, 0, 3]]))
    for circuit in (summed_circuit(seed), shared, detecting(KINDS[seed])[1]):
        words, tables = pixel_words(circuit), Tables("t")
        asked = AskedWords(circuit, words)
        bits = add_encoder(tables, encoder_bits(circuit), words, asked)
        inverters = {bit for bit in bits if bit.startswith("~")}
        sums = added(circuit.sums, [asked.values[feature] for feature in asked])
        assert sums > 20 and count_encoder(circuit, words) == len(tables.made) + len(inverters) + sums


@pytest.mark.parametrize("sparse", [1, 2, 100])
def test_blocks_of_sums_are_the_sums(sparse, monkeypatch):
    monkeypatch.setattr("difflut.circuits.circuit.sums.SPARSE", sparse)
    monkeypatch.setattr("difflut.circuits.circuit.sums.LARGEST", 5)
    random = np.random.default_rng(sparse)
    sources = random.integers(-1, 20, (40, 4))
    sources[30:] = random.integers(-1, 50, (10, 4))  # sums of sums, some of which add a value twice
    sums = WeightedSums(20, sources, random.integers(1, 9, sources.shape), np.arange(60))
    made = np.concatenate([block.made for block in sums.blocks])
    assert np.array_equal(np.sort(made), np.arange(20, 60))
    assert (max(len(block.made) for block in sums.blocks) == 5) == (sparse == 100)
    for block in sums.blocks:
        terms = (sources[block.made - 20] >= 0).sum()
        assert block.weights.size <= sparse * terms or len(block.made) == 1
    x = random.integers(256, size=(30, 20), dtype=np.uint8)
    expected = np.concatenate([x.T, np.zeros((40, 30))])
    for row in range(40):
        for source, weight in zip(sources[row], sums.weights[row], strict=True):
            expected[20 + row] += weight * expected[source] * (source >= 0)
    np.testing.assert_array_equal(sums(x), expected.T)


@pytest.mark.needs("pyosys")
def test_the_estimate_is_near_what_yosys_counts(tmp_path):
    circuit = simplify(detecting("plain", 4, edges())[1])[0]
    words = pixel_words(circuit)
    cost, encoder = estimate_cost(circuit, words), synthesize(write_verilog(circuit, tmp_path, words), "encoder")
    assert cost.encoder == pytest.approx(encoder.luts, rel=0.02)


def test_bits_cost_comparisons_alone_and_what_is_not_read_is_not_added():
    circuit = detecting("plain", 4, edges())[1]
    words = pixel_words(circuit)
    costs = bit_costs(circuit, words).reshape(-1, 7, 3)  # pixels, features of a pixel, bits
    assert 0 < costs[:, :2].max() <= 2 and 2 <= costs[:, 2:].max() <= 3
    one = np.full_like(circuit.outputs, 7 * 3 * 12 + 3 * 2)  # a bit of the response to the first detector in the middle
    alone = simplify(replace(circuit, outputs=one))[0]
    read = {name for table in netlist(alone, words).tables for name in table.inputs if name.startswith("x")}
    assert read == {f"x{16 * (5 * y + x) + bit}" for y in (1, 2, 3) for x in (1, 3) for bit in range(16)}
    assert 100 < estimate_cost(alone, words).encoder < 140


@pytest.mark.parametrize("seed", range(4))
def test_a_bit_and_its_sums_cost_what_a_circuit_takes_that_reads_it_alone(seed):
    for circuit in (summed_circuit(seed), detecting(KINDS[seed])[1], random_circuit(seed)):
        words = fixed_point_words(circuit)
        costs = bit_costs(circuit, words).reshape(circuit.num_features, -1) + sum_costs(circuit, words)[:, None]
        for bit in np.random.default_rng(seed).choice(circuit.num_inputs, 12, replace=False):
            alone = replace(circuit, outputs=np.array([bit]), inverted=np.zeros(1, bool), groups=np.zeros(1, int))
            alone = replace(alone, wiring=alone.wiring[:0], table_of=alone.table_of[:0], layers=alone.layers[:0])
            # A bit that is constant is not compared, so that its feature is not made.
            expected = estimate_cost(alone, words).encoder
            assert costs.flat[bit] == expected or (expected == 0 and bit_costs(circuit, words)[bit] == 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": np.full((8, 3), 12)}, r"sum 0 adds \[12, 12, 12\]; it may add values before it, 0 to 4, or -1"),
        ({"sources": np.full((8, 3), -2)}, "sum 0 adds"),
        ({"sources": np.zeros((8, 2), int)}, r"sums.weights must be \(8, 2\) integers, got int64 \(8, 3\)"),
        ({"weights": np.full((8, 3), 2.0)}, "sums.weights must be"),
        ({"weights": np.full((8, 3), 2**62)}, "sum 0 may be .*; float32 is exact below 16777216"),
        ({"features": np.arange(3)}, r"sums.features must be \(4,\) integers"),
        ({"features": np.array([0, 1, 2, 13])}, r"sums.features\[3\] is 13, but there are 13 pixels and sums"),
    ],
)
def test_what_is_no_sum_is_refused(changes, message):
    circuit = summed_circuit(3)
    with pytest.raises(ValueError, match=message):
        replace(circuit, sums=replace(circuit.sums, **changes))


def test_a_circuit_with_sums_is_saved_and_loaded(tmp_path):
    circuit = summed_circuit(4)
    circuit.save(tmp_path / "circuit.npz")
    loaded = Circuit.load(tmp_path / "circuit.npz")
    np.testing.assert_array_equal(loaded.counts(pixels(circuit)), circuit.counts(pixels(circuit)))
    assert loaded.sums.inputs == 5 and type(loaded.sums.inputs) is int
    arrays = dict(np.load(tmp_path / "circuit.npz"))
    for name in ("inputs", "sources", "weights", "features"):
        write_arrays(tmp_path / "damaged.npz", {key: array for key, array in arrays.items() if key != f"sums_{name}"})
        with pytest.raises(ValueError, match=f"damaged.npz: damaged, .*{name}"):
            Circuit.load(tmp_path / "damaged.npz")
    plain = replace(circuit, sums=None)
    plain.save(tmp_path / "circuit.npz")
    assert Circuit.load(tmp_path / "circuit.npz").sums is None
