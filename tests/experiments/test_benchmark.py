import csv
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import count

import pytest

from difflut import config
from difflut.models import LUTNetwork
from difflut.registry import LAYERS, NODES
from experiments.benchmark import plots as step_plots
from experiments.benchmark import timing
from experiments.benchmark.benchmark import benchmark
from experiments.shared.failures import JobError


def test_a_benchmark_times_every_case_beside_its_reference(tmp_path):
    file = tmp_path / "bench.gin"
    file.write_text(
        f"""
run.job = @benchmark
benchmark.node_types = ["dwn"]
benchmark.first_layers = ["random", "learnable"]
benchmark.top_k = 5
benchmark.batch_sizes = [17]
benchmark.input_size = 40
benchmark.widths = [30, 20]
benchmark.threads = [1]
benchmark.backends = ["reference", "auto", "torchlogix"]
benchmark.seconds = 0.01
benchmark.device = "cpu"
benchmark.runs = "{tmp_path}/runs"
"""
    )
    config.parse([str(file)])
    rows = [row for row in config.run() if row["backend"] != "torchlogix"]
    assert [(row["first_layer"], row["backend"]) for row in rows] == [
        ("random", "reference"), ("random", "auto"), ("learnable", "reference"), ("learnable", "auto"),
    ]  # fmt: skip
    for reference, compiled in zip(rows[::2], rows[1::2], strict=True):
        assert reference["speedup"] == 1
        assert compiled["speedup"] == pytest.approx(reference["step_ms"] / compiled["step_ms"])
        assert compiled["of_floor"] == pytest.approx(compiled["floor_ms"] / compiled["step_ms"])
        assert compiled["floor_ms"] > 0 and compiled["samples_per_second"] == pytest.approx(17e3 / compiled["step_ms"])
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(list(csv.DictReader((folder / "steps.csv").open()))) >= 4
    assert "has 5 inputs to choose from" in (folder / "steps.md").read_text()
    assert (folder / "plots" / "steps.png").stat().st_size > 1000


def test_one_thread_is_measured_in_cpu_time(monkeypatch):
    monkeypatch.setattr(timing.time, "process_time", count(0, 2).__next__)
    monkeypatch.setattr(timing.time, "perf_counter", count(0, 3).__next__)
    measured = []
    for threads in (1, 2):
        monkeypatch.setattr(timing.torch, "get_num_threads", lambda threads=threads: threads)
        measured.append(timing._median_seconds(lambda: None, 1.0, "cpu"))
    assert measured == [2, 3]


def case(backend):
    return timing.Case("warp", "random", 8, 1, backend, 40, (30, 20), 2, None, 0.01, "cpu")


@pytest.mark.parametrize("source,said", [("x = = 1", "SyntaxError: invalid"), ("", "ModuleNotFoundError: No module")])
def test_another_library_that_does_not_work_here_is_a_note(tmp_path, monkeypatch, source, said):
    (tmp_path / "torchlogix.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert timing.measure(case("torchlogix"))["note"].startswith(f"left out: {said}")


def test_a_case_whose_process_dies_is_a_note_and_an_error_of_ours_is_one(monkeypatch):
    def dying(case):
        raise BrokenProcessPool if case.threads == 1 else ValueError("wrong")

    monkeypatch.setattr(timing, "_measure_apart", dying)
    assert timing.measure(case("auto")) == {"note": "its process was killed, as where memory runs out"}
    with pytest.raises(ValueError, match=r"^wrong$"):
        timing.measure(replace(case("auto"), threads=2))


def test_a_case_that_failed_is_an_error_once_the_others_are_written(tmp_path, monkeypatch):
    notes = {
        ("auto", 5): "out of memory",
        ("reference", 5): "skipped: it may need 9 GB",
        ("torchlogix", 9): "left out: why",
    }

    def measured(case):
        note = notes.get((case.backend, case.batch))
        return {"note": note} if note else {"step_ms": 2.0}

    monkeypatch.setattr(timing, "measure", measured)
    options = {"batch_sizes": (9, 5), "threads": (1,), "seconds": 0.01, "device": "cpu", "runs": str(tmp_path)}
    with pytest.raises(JobError, match="1 of 4 cases failed, the first is dwn by auto, batch 5: out of memory; the"):
        benchmark(**options)
    (folder,) = tmp_path.iterdir()
    assert len(list(csv.DictReader((folder / "steps.csv").open()))) == 4
    del notes["auto", 5]
    assert len(benchmark(**options, backends=["auto", "reference", "torchlogix"])) >= 4


def test_a_reference_that_would_not_fit_is_skipped(monkeypatch):
    monkeypatch.setattr(timing, "_free_memory", lambda device: 2**20)
    case = timing.Case("warp", "random", 4096, 1, "reference", 40, (30, 20), 6, None, 0.01, "cpu")
    assert timing.measure(case) == {"note": "skipped: it may need 0.117 GB"}


def test_the_floor_counts_parameters_bits_and_floats():
    def bytes_per_sample(node):
        layers = [LAYERS["random"](40, 30, NODES[node], n=2), LAYERS["random"](30, 20, NODES[node], n=2)]
        network = LUTNetwork(None, layers)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return timing.floor_bytes(network, 8) / 8 - 24 * parameters / 8

    assert bytes_per_sample("dwn") == pytest.approx(40 / 8 + 30 * (3 / 8 + 8))
    assert bytes_per_sample("probabilistic") == pytest.approx(40 / 8 + 30 * (12 + 8))


def test_steps_are_drawn_over_the_batch_size(tmp_path):
    rows = [
        {"node": node, "first_layer": "random", "backend": backend, "threads": 1, "batch": batch, "step_ms": batch / 9}
        for node in ("dwn", "warp")
        for backend in ("auto", "reference")
        for batch in (32, 128)
    ]
    assert step_plots.step_times_by_batch(rows, tmp_path / "steps.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("benchmark.node_types = ['dwm']", "benchmark.node_types: there is no 'dwm'; known: .*dwn"),
        ("benchmark.first_layers = ['dense']", "benchmark.first_layers: there is no 'dense'"),
        ("benchmark.backends = ['triton']", "benchmark.backends: there is no 'triton'; known: auto, reference"),
        ("benchmark.batch_sizes = []", "benchmark.batch_sizes must be a list of at least one item"),
        ("benchmark.node_types = []", "benchmark.node_types must be a list of at least one item"),
        ("benchmark.backends = []", "benchmark.backends must be a list of at least one item"),
        ("benchmark.widths = [20, 15]", r"benchmark.widths must end with a multiple of 10; got \[20, 15\]"),
        ("benchmark.widths = [0]", "benchmark.widths must be a whole number, 1 or more; got 0"),
        ("benchmark.top_k = 2353", "benchmark.top_k must be a whole number, 1 to 2352; got 2353"),
        ("benchmark.seconds = -1", "benchmark.seconds must be a number of seconds, 0 or more; got -1"),
        ("benchmark.top_k = 8", r'benchmark.top_k = 8 has no effect without "learnable"'),
        ("benchmark.input_shape = (5, 5)", r"benchmark.input_shape = \(5, 5\) has no effect without benchmark.network"),
        ("benchmark.network = @network\nbenchmark.n = 3", "benchmark.n = 3 has no effect on benchmark.network"),
        ("benchmark.n = 9", "benchmark.n must be a whole number, 1 to 8; got 9"),
        ("benchmark.device = 'tpu'", "benchmark.device: there is no 'tpu' here"),
    ],
)
def test_what_cannot_be_timed_is_refused_at_once(parameter, message, tmp_path):
    config.parse([], [f'benchmark.runs = "{tmp_path}/runs"', parameter], text="run.job = @benchmark")
    with pytest.raises(config.ConfigurationError, match=message):
        config.run()
    assert not (tmp_path / "runs").exists()


def test_a_network_of_ones_own_is_timed(tmp_path):
    file = tmp_path / "bench.gin"
    file.write_text(
        f"""
run.job = @benchmark
benchmark.network = @network
benchmark.input_shape = (6, 6)
benchmark.batch_sizes = [9]
benchmark.threads = [1]
benchmark.seconds = 0.01
benchmark.device = "cpu"
benchmark.runs = "{tmp_path}/runs"
network.encoder = @encoders.thermometer()
network.layers = [@conv/layers.random, @layers.pool, @layers.random]
conv/layers.random.kernel_size = 3
layers.random.output_size = 20
layers.random.node_type = @nodes.dwn
"""
    )
    config.parse([str(file)])
    reference, compiled = config.run()
    assert compiled["speedup"] == pytest.approx(reference["step_ms"] / compiled["step_ms"])
    assert compiled["floor_ms"] > 0
