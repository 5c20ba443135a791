import csv

import pytest

import experiments  # noqa: F401
from difflut import config


def test_a_benchmark_times_every_case_beside_its_reference(tmp_path):
    file = tmp_path / "bench.gin"
    file.write_text(
        f"""
run.job = @benchmark
benchmark.node_types = ["dwn", "warp"]
benchmark.first_layers = ["random"]
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
    assert [(row["node"], row["backend"]) for row in rows] == [
        ("dwn", "reference"), ("dwn", "auto"), ("warp", "reference"), ("warp", "auto"),
    ]  # fmt: skip
    for reference, compiled in zip(rows[::2], rows[1::2], strict=True):
        assert reference["speedup"] == 1
        assert compiled["speedup"] == pytest.approx(reference["step_ms"] / compiled["step_ms"])
        assert compiled["floor_ms"] > 0 and compiled["samples_per_second"] == pytest.approx(17e3 / compiled["step_ms"])
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(list(csv.DictReader((folder / "steps.csv").open()))) >= 4
    assert (folder / "steps.md").read_text().count("\n") >= 6
    assert (folder / "plots" / "steps.png").stat().st_size > 1000
