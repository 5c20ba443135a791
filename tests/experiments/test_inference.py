import pytest

from difflut.circuits import Circuit
from difflut.config import ConfigurationError
from difflut.models import load_checkpoint
from experiments.inference import inference


def test_the_back_ends_of_a_run_and_of_a_circuit_are_timed_and_compared(finished_run, tmp_path):
    Circuit.from_model(load_checkpoint(finished_run / "best.pt")).save(tmp_path / "small.npz")
    networks = [str(finished_run), str(tmp_path / "small.npz")]
    rows = inference(networks, ["model", "numpy", "engine"], samples=100, seconds=0, runs=str(tmp_path))
    assert [row["back end"] for row in rows] == ["model", "numpy", "engine", "numpy", "engine"]
    assert all(row["compared"] == 100 and row["mismatches"] == 0 and row["luts"] <= 60 for row in rows)
    (folder,) = tmp_path.glob("inference-*")
    assert "| small | 60 | engine |" in (folder / "inference.md").read_text()


def test_what_is_not_there_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigurationError, match=r"inference.backends: there is no 'gpu'; known: model, .*cuda"):
        inference(backends=["numpy", "gpu"], runs=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"nothing: no finished run here; best.pt is missing"):
        inference(["gates", str(tmp_path / "nothing")], ["numpy"], samples=1, runs=str(tmp_path))
    assert not list(tmp_path.iterdir())
