import pytest

from difflut.circuits import Circuit
from difflut.config import ConfigurationError
from difflut.models import load_checkpoint
from experiments.inference import back_ends
from experiments.inference.inference import inference
from experiments.inference.networks import load_network
from experiments.shared.failures import JobError, MismatchError


def test_the_back_ends_of_a_run_and_of_a_circuit_are_timed_and_compared(finished_run, tmp_path):
    Circuit.from_model(load_checkpoint(finished_run / "best.pt")).save(tmp_path / "small.npz")
    networks = [str(finished_run), str(tmp_path / "small.npz")]
    rows = inference(networks, ["model", "numpy", "engine"], samples=100, seconds=0, runs=str(tmp_path))
    assert [row["back end"] for row in rows] == ["model", "numpy", "engine", "numpy", "engine"]
    assert all(row["compared"] == 100 and row["mismatches"] == 0 and row["luts"] <= 60 for row in rows)
    (folder,) = tmp_path.glob("inference-*")
    assert "| small | 60 | engine |" in (folder / "inference.md").read_text()


def test_the_convolution_has_as_many_luts_as_cifar10_conv_and_shares_their_tables():
    circuit, _, images = load_network("convolution", 3)
    assert circuit.num_luts == 634_400 and len(circuit.tables) < 60_000 and images.shape == (3, 32, 32, 3)
    assert circuit.counts(images[:1]).std() > 1


def test_another_class_than_the_circuits_fails_once_all_is_measured_and_written(finished_run, tmp_path, monkeypatch):
    def wrong(candidate, x):
        def classify(given):
            classes = candidate.circuit.classes(given)
            classes[7] = (classes[7] + 1) % candidate.circuit.num_classes
            return classes

        return classify, x

    monkeypatch.setitem(back_ends.BACK_ENDS, "engine", wrong)
    with pytest.raises(MismatchError, match=r"classes than the circuit in numpy: engine of train-.*/inference.md"):
        inference([str(finished_run)], ["engine", "numpy"], samples=100, seconds=0, runs=str(tmp_path))
    (folder,) = tmp_path.glob("inference-*")
    table = (folder / "inference.md").read_text()
    assert "| 100 | 1 |" in table and "| numpy |" in table


def test_a_back_end_that_fails_is_an_error_once_the_others_are_measured(finished_run, tmp_path, monkeypatch):
    def fails(candidate, x):
        raise RuntimeError("no room")

    monkeypatch.setitem(back_ends.BACK_ENDS, "c", fails)
    with pytest.raises(JobError, match=r"inference\.md has all but c \(RuntimeError: no room\); mend that"):
        inference([str(finished_run)], ["c", "numpy"], samples=100, seconds=0, runs=str(tmp_path))
    (folder,) = tmp_path.glob("inference-*")
    assert "| numpy |" in (folder / "inference.md").read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"backends": ["numpy", "gpu"]}, "inference.backends: there is no 'gpu'; known: model, .*cuda"),
        ({"backends": []}, "inference.backends must be a list of at least one item"),
        ({"networks": []}, "inference.networks must be a list of at least one item"),
        ({"networks": ["gates", "nothing"]}, "nothing: no finished run here; best.pt is missing"),
        ({"networks": ["nothing.npz"]}, r"nothing\.npz"),
        ({"samples": 0}, "inference.samples must be a whole number, 1 or more; got 0"),
        ({"compared": -1}, "inference.compared must be a whole number, 1 or more; got -1"),
        ({"lut_size": 50}, "inference.lut_size must be a whole number, 1 to 12; got 50"),
        ({"seconds": -1}, "inference.seconds must be a number of seconds, 0 or more; got -1"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(tmp_path, wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        inference(**{"samples": 1, **wrong}, runs=str(tmp_path))
    assert not list(tmp_path.iterdir())
