"""Circuits in files that were damaged or made to do harm: an error that says so, or a circuit as any other."""

import io
import tracemalloc
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from difflut.circuits import Circuit, estimate_cost, simplify
from difflut.circuits.circuit.files import DIGEST, ROOM, unpacked_arrays, write_arrays
from difflut.circuits.circuit.sums import MOST_DEPTH, WeightedSums
from tests.circuits.networks import inputs, random_circuit
from tests.circuits.test_sums import pixels, summed_circuit

EXTREMES = [-(2**63), -(2**31), -7, -2, -1, 0, 1, 5, 127, 255, 2**15, 2**24, 2**31, 2**40, 2**62, 2**63 - 1]
NUMBERS = [np.nan, np.inf, -np.inf, 0.0, -1.5, 1e-60, 1e60]
MOST_MEMORY = 2**25  # bytes, of circuits that take a few kilobytes


@contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < MOST_MEMORY


def circuits():
    return [random_circuit(0, width=6), random_circuit(1, n=2, ones=0.2, width=6), summed_circuit(2, width=6)]


def arrays_of(circuit, folder):
    circuit.save(folder / "whole.npz")
    return dict(np.load(folder / "whole.npz"))


def changed(array, random):
    """An array with an entry, its type, its shape or its order changed."""
    array = array.copy()
    kind = random.integers(6)
    if kind < 3 and array.size:
        values = NUMBERS if array.dtype.kind == "f" else EXTREMES
        value = np.array(values[random.integers(len(values))])
        with np.errstate(over="ignore"):
            array.reshape(-1)[random.integers(array.size)] = value.astype(array.dtype)
    elif kind == 3:
        array = array.astype(["i1", ">i8", "u2", "f2", "f8", "c8", "S3", "?"][random.integers(8)])
    elif kind == 4:
        array = [array[..., None], array.reshape(-1)[:-1], array.T, np.zeros(0, array.dtype), np.tile(array, 2)][
            random.integers(5)
        ]
    else:
        array = random.permutation(array.reshape(-1)).reshape(array.shape)
    return array


def use(circuit):
    """What reads a circuit: all agree, as with any circuit."""
    x = inputs(circuit, 60) if circuit.sums is None else pixels(circuit, 60)
    counts = circuit.counts(x)
    smaller, _ = simplify(circuit)
    np.testing.assert_array_equal(smaller.counts(x), counts)
    np.testing.assert_array_equal(smaller.engine(threads=1).counts(x), counts)
    if circuit.bias.min() >= 0 and np.isfinite(circuit.thresholds).all() and circuit.sums is None:
        estimate_cost(circuit)  # which is of what fits into hardware


@pytest.mark.parametrize("number", range(3))
def test_a_changed_array_is_refused_or_another_circuit(tmp_path, number):
    arrays, random, path = arrays_of(circuits()[number], tmp_path), np.random.default_rng(number), tmp_path / "file.npz"
    refused = 0
    for _ in range(70):
        name = random.choice(sorted(arrays))
        write_arrays(path, arrays | {name: changed(arrays[name], random)})
        try:
            with little_memory():
                circuit = Circuit.load(path)
        except ValueError as error:
            assert "damaged, or not a circuit" in str(error)
            refused += 1
        else:
            use(circuit)
    assert 20 < refused < 65


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path):
    circuit = summed_circuit(3)
    circuit.save(tmp_path / "file.npz")
    whole, random = (tmp_path / "file.npz").read_bytes()[:-DIGEST], np.random.default_rng(3)
    expected = unpacked_arrays(whole + bytes(DIGEST))
    for _ in range(400):
        content = bytearray(whole[: random.integers(len(whole))] if random.random() < 0.1 else whole)
        for _ in range(random.integers(1, 4)):
            if content:
                content[random.integers(len(content))] = random.integers(256)
        try:
            found = unpacked_arrays(bytes(content) + bytes(DIGEST))
        except ValueError as error:
            assert "no archive of arrays" in str(error)
        else:  # bytes that nobody reads, as those of a date
            for name in found.keys() & expected.keys():
                np.testing.assert_array_equal(found[name], expected[name])


def archive(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, member in members.items():
            file.writestr(f"{name}.npy", member)
    return content.getvalue()


def header(shape, dtype="<i8"):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"shape": shape, "fortran_order": False, "descr": dtype})
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive(a=header((2**40,))), r"a.npy has 0 bytes, and its shape \(1099511627776,\) of int64 needs"),
        (archive(a=header((2**62, 2**62)) + bytes(64)), "a.npy has 64 bytes"),
        (archive(a=header((-8,)) + bytes(64)), "a.npy has 64 bytes"),
        (archive(a=header((ROOM,)) + bytes(8 * ROOM)), "bytes that unpack to"),
        (archive(a=header((1,), "|O") + bytes(8)), "allow_pickle"),
        (archive(a=b"\x93NUMPY\x03\x00" + bytes(64)), r"format \(3, 0\)"),
        (archive(a=b"no array"), "no archive of arrays"),
        (b"", "no archive of arrays"),
    ],
    ids=["large", "larger", "negative", "bomb", "object", "version", "text", "empty"],
)
def test_what_an_archive_claims_is_not_believed(content, said):
    with little_memory(), pytest.raises(ValueError, match=said):
        unpacked_arrays(content)


def chain(length):
    """Sums of which each adds the one before it."""
    return WeightedSums(1, np.arange(length)[:, None], np.ones((length, 1), int), np.full(4, length))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": np.full(90, 2**40)}, "LUT 89 is of layer 1099511627776; layers are numbered below 1048576"),
        ({"bias": np.array([1, -(2**31), 2])}, r"bias\[1\] is -2147483648; votes, .* counted below 2147483648"),
        ({"bias": np.array([1, 2, 2**31 - 5])}, r"bias\[2\] is 2147483643; votes"),
        ({"tau": 1e-60}, "tau=1e-60 must be positive and finite in float32"),
        ({"tau": 1e60}, r"tau=1e\+60 must be positive and finite in float32"),
        ({"thresholds": np.zeros((4, 3))}, "thresholds must be float32, .* got float64"),
        ({"wiring": np.full((90, 60), -1)}, "wiring has n=60 inputs of a LUT"),
        ({"thresholds": np.zeros((2**16, 1), np.float32), "codebook": np.ones((2, 2**16), bool)}, "signals; they are"),
        ({"sums": replace(chain(3), inputs=2**40)}, "sums.inputs is 1099511627776; a sample has 1 to 4194304 pixels"),
        ({"sums": replace(chain(3), inputs=0)}, "sums.inputs is 0"),
        ({"sums": chain(MOST_DEPTH + 1)}, "sums add sums in more than 64 levels"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_numbers_that_no_circuit_has_are_refused_at_once(changes, said):
    circuit = random_circuit(0)
    with little_memory(), pytest.raises(ValueError, match=said):
        replace(circuit, **changes)
    if "sums" in changes and "levels" in said:
        assert replace(circuit, sums=chain(MOST_DEPTH)).sums.levels[-1].tolist() == [MOST_DEPTH - 1]
