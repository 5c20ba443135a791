import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit, CompiledCircuit, simplify, write_c
from difflut.registry import ENCODERS
from tests.circuits.networks import inputs, network, random_circuit

pytestmark = pytest.mark.needs("cc")


def assert_equal(circuit, x, folder, **options):
    compiled = CompiledCircuit(write_c(circuit, folder / "c.c"), circuit.num_features, circuit.num_classes, **options)
    counts, classes = compiled.counts_and_classes(x)
    np.testing.assert_array_equal(counts, circuit.counts(x))
    np.testing.assert_array_equal(classes, circuit.classes(x))


@pytest.mark.parametrize("n", [1, 2, 4, 6, 7])
def test_random_circuits_before_and_after_simplification(n, tmp_path):
    circuit = random_circuit(n, n=n)
    assert_equal(circuit, inputs(circuit, 1100), tmp_path)
    assert_equal(simplify(circuit)[0], inputs(circuit, 1100), tmp_path)


@pytest.mark.parametrize("encoder", [*ENCODERS, None])
def test_every_encoder_on_floats(encoder, tmp_path):
    circuit = Circuit.from_model(network(encoder=encoder))
    x = torch.randn(700, 20 if encoder is None else 5)
    x[0, 0], x[1, 1], x[2, 2] = float("nan"), float("inf"), -float("inf")
    assert_equal(circuit, x.numpy(), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 64, 513])
def test_pixels_of_any_number(samples, tmp_path):
    circuit = Circuit.from_model(network(n=4, data=torch.randint(256, (300, 5), dtype=torch.uint8)))
    assert_equal(circuit, np.random.default_rng(0).integers(256, size=(samples, 5), dtype=np.uint8), tmp_path)


def test_it_is_strict_c99_and_works_with_words_of_64_bits(tmp_path):
    circuit = random_circuit(0)
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    assert_equal(circuit, inputs(circuit), tmp_path, flags=flags)
    source = write_c(circuit, tmp_path / "c.c")
    source.write_text(source.read_text().replace("defined(__GNUC__)", "0"))
    counts, _ = CompiledCircuit(source, circuit.num_features, circuit.num_classes).counts_and_classes(inputs(circuit))
    np.testing.assert_array_equal(counts, circuit.counts(inputs(circuit)))


@pytest.mark.needs("c++")
def test_it_is_c_plus_plus_too(tmp_path):
    circuit = random_circuit(0)
    flags = ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    assert_equal(circuit, inputs(circuit), tmp_path, flags=flags)


PROGRAM = """
#include <stdint.h>
#include <stdio.h>
int first_predict_f32(const float *, size_t, int32_t *, int32_t *);
int second_predict_f32(const float *, size_t, int32_t *, int32_t *);
int main(void)
{
    float x[4];
    while (scanf("%f %f %f %f", x, x + 1, x + 2, x + 3) == 4) {
        int32_t first, second;
        if (first_predict_f32(x, 1, NULL, &first) || second_predict_f32(x, 1, NULL, &second))
            return 1;
        printf("%d %d\\n", first, second);
    }
    return 0;
}
"""


def test_with_prefixes_two_circuits_are_linked_into_one_program(tmp_path):
    first, second = (random_circuit(seed) for seed in (1, 2))
    files = [write_c(one, tmp_path / f"{name}.c", f"{name}_") for one, name in ((first, "first"), (second, "second"))]
    (tmp_path / "main.c").write_text(PROGRAM)
    program = tmp_path / "main"
    subprocess.run(["cc", "-O1", "-o", program, tmp_path / "main.c", *files], check=True)
    x = np.nan_to_num(inputs(first, 80), posinf=1e9, neginf=-1e9)
    rows = "\n".join(" ".join(map(float.hex, row)) for row in x.tolist())
    output = subprocess.run([program], input=rows, capture_output=True, text=True, check=True).stdout
    found = np.array(output.split(), int).reshape(-1, 2)
    np.testing.assert_array_equal(found, np.column_stack([first.classes(x), second.classes(x)]))
    assert (found[:, 0] != found[:, 1]).any()
    compiled = CompiledCircuit(files[1], 4, 3, prefix="second_")
    np.testing.assert_array_equal(compiled.counts_and_classes(x)[1], second.classes(x))


@pytest.mark.parametrize("prefix", ["1st_", "_net", "my-net", "a b"])
def test_what_cannot_begin_a_name_is_no_prefix(prefix, tmp_path):
    with pytest.raises(ValueError, match=f"prefix='{prefix}' must be empty, or a letter"):
        write_c(random_circuit(0), tmp_path / "c.c", prefix)
    assert not (tmp_path / "c.c").exists()


def test_thousands_of_classes_fit_the_stack_of_a_small_thread(tmp_path):
    circuit = random_circuit(1, classes=4096)
    previous = threading.stack_size(256 * 1024)
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(assert_equal, circuit, inputs(circuit, 600), tmp_path).result()
    finally:
        threading.stack_size(previous)


def test_errors_say_what_is_wrong(tmp_path):
    circuit = random_circuit(0)
    source = write_c(circuit, tmp_path / "c.c")
    with pytest.raises(ValueError, match="has 4 features, x has 7"):
        CompiledCircuit(source, circuit.num_features, circuit.num_classes).counts_and_classes(np.zeros((2, 7)))
    source.write_text("not C")
    with pytest.raises(RuntimeError, match="failed"):
        CompiledCircuit(source, circuit.num_features, circuit.num_classes)


def test_a_constant_network_has_its_bias_alone(tmp_path):
    circuit = random_circuit(0)
    one = {"outputs": np.array([20]), "inverted": circuit.inverted[:1], "groups": circuit.groups[:1]}
    constant, _ = simplify(replace(circuit, tables=np.ones_like(circuit.tables), **one))
    assert_equal(constant, inputs(circuit, 5), tmp_path)
