import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import experiments  # noqa: F401
from difflut import config
from experiments.runs import Sweep
from experiments.shared.costs import USED

ROOT = Path(__file__).parents[2]
BASE = """
run.job = @ablate
ablate.name = "sweep"
TAU = 3.0
train.network = @network
train.optimizer = @optimizers.adam
train.schedule = @schedules.cosine
train.batch_size = 256
train.device = "cpu"
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@layers.random]
network.tau = %TAU
layers.random.node_type = @nodes.dwn
layers.random.n = 4
layers.random.output_size = 50
"""
TIMEOUT = 240
JOINED = """
import ray, sys, time
ray.init(sys.argv[1], logging_level="error", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def environment():
    """Of a process with a token of its own for Ray, one thread, and no account."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_"))}
    return clean | token | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def cluster(environment):
    """The address of two nodes on this machine, of one CPU each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    port, memory = address.split(":")[1], "--object-store-memory=100000000"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", memory]
    nodes = []
    try:
        for options in (["--head", f"--port={port}", "--include-dashboard=false"], [f"--address={address}"]):
            nodes.append(subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL))
            wait_for(lambda: listening(address))
        # The second node joins when it has started, which a sweep does not wait for.
        subprocess.run([sys.executable, "-c", JOINED, address], env=environment, timeout=TIMEOUT, check=True)
        yield address
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            node.wait(60)


def listening(address):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(address.split(":")[1]))) == 0


def wait_for(condition, seconds=TIMEOUT):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def start(folder, environment, text, *parameters):
    """Starts run.py on the sweep; its output is a file."""
    path = folder / "sweep.gin"
    path.write_text(BASE + f'ablate.runs = "{folder}/runs"\n' + text)
    options = [part for parameter in parameters for part in ("--gin_param", parameter)]
    with (folder / "output").open("a") as output:
        command = [sys.executable, "run.py", "--gin_file", str(path), *options]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)


def finish(process, folder, status=0):
    assert process.wait(TIMEOUT) == status, (folder / "output").read_text()
    return Sweep.open(only(folder / "runs")), (folder / "output").read_text()


def only(folder):
    (path,) = folder.iterdir()
    return path


def epochs(trial):
    return [row["epoch"] for row in trial.metrics()]


def scores(metrics):
    return [(row["epoch"], row["train_loss"], row["val_accuracy_hard"]) for row in metrics]


def test_killed_workers_and_a_killed_driver_lose_and_repeat_nothing(tmp_path, environment):
    text = """
train.epochs = 40
tracking.mode = "disabled"
ablate.dimensions = {'train.seed': [0, 1, 2]}
"""
    runs = tmp_path / "runs"
    process = start(tmp_path, environment, text)
    wait_for(lambda: process.poll() is not None or list(runs.glob("*/trials/0000/trial.json")))
    sweep = Sweep.open(only(runs))
    killed, other, last = sweep.trials
    wait_for(lambda: process.poll() is not None or killed.state.get("pid"))
    os.kill(killed.state["pid"], signal.SIGKILL)
    wait_for(lambda: process.poll() is not None or "finished" in (killed.status, other.status))
    process.kill()
    process.wait()
    ended = {trial.id: trial.state for trial in sweep.trials if trial.status == "finished"}
    assert 0 < len(ended) < 3

    sweep, output = finish(start(tmp_path, environment, text, f'ablate.resume = "{sweep.path}"'), tmp_path)
    assert "its worker was killed, or crashed" in output
    assert [trial.status for trial in sweep.trials] == 3 * ["finished"]
    assert killed.state["attempts"] >= 2 and {id: sweep.trials[int(id)].state for id in ended} == ended
    assert [epochs(trial) for trial in sweep.trials] == 3 * [list(range(1, 41))]

    # What was killed, and what was not, gives the same when run alone from its folder.
    for trial in (killed, last):
        config.parse([str(trial.path / "config.gin")], [f'train.runs = "{tmp_path}/alone-{trial.id}"'])
        result = config.run()
        unequal = dict.fromkeys(USED, 0)
        assert result | unequal == trial.result | unequal
        rows = (only(tmp_path / f"alone-{trial.id}") / "metrics.jsonl").read_text().splitlines()
        assert scores(map(json.loads, rows)) == scores(trial.metrics())


def test_a_sweep_that_is_terminated_says_how_to_go_on(tmp_path, environment):
    text = """
train.epochs = 100000
tracking.mode = "disabled"
ablate.dimensions = {'train.seed': [0]}
"""
    process = start(tmp_path, environment, text)
    wait_for(lambda: process.poll() is not None or list(tmp_path.glob("runs/*/trials/0000/metrics.jsonl")))
    process.terminate()
    assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
    output, folder = (tmp_path / "output").read_text(), only(tmp_path / "runs")
    command = f"--gin_file {folder}/config.gin --gin_param 'ablate.resume = \"{folder}\"'"
    assert "interrupted; continue with\n" in output and f" {command}\n" in output and "***" not in output


LOSS = """
from torch.nn.functional import cross_entropy
from difflut.registry import register_loss

@register_loss("unlucky")
def unlucky(logits, y):
    if len(y) > 2:  # which are tried before a run begins
        raise ArithmeticError("no luck")
    return cross_entropy(logits, y)
"""


def test_a_sweep_of_which_all_fails_says_why_each_time_and_fails(tmp_path, environment):
    text = """
import unlucky_loss
ablate.dimensions = {'train.seed': [0]}
tracking.mode = "disabled"
train.loss = @losses.unlucky
"""
    (tmp_path / "unlucky_loss.py").write_text(LOSS)
    path = os.pathsep.join([str(tmp_path), *filter(None, [environment.get("PYTHONPATH")])])
    # Ray makes sockets in the folder for temporary files, whose paths must be short.
    long = tmp_path / ("long" * 25)
    long.mkdir()
    process = start(tmp_path, environment | {"TMPDIR": str(long), "PYTHONPATH": path}, text)
    assert process.wait(TIMEOUT) == 1, (tmp_path / "output").read_text()
    output, reason = (tmp_path / "output").read_text(), "ArithmeticError: no luck"
    assert f"again  0000  {reason}" in output and "Traceback" not in output
    assert f"1 of 1 trials failed, the first is 0000: {reason}; the report has" in output.splitlines()[-1]


def test_ray_on_this_machine_listens_to_this_machine_alone(environment):
    code = """
import os, socket
from experiments.cluster.joining import connected
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect(("192.0.2.1", 9))
    outward = probe.getsockname()[0]
with connected(None):
    import ray
    host, port = ray.get_runtime_context().gcs_address.split(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    open_to_others = not outward.startswith("127.") and not socket.socket().connect_ex((outward, int(port)))
    print(host, open_to_others, os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"]))
"""
    clean = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert result.stdout == "127.0.0.1 False token 64\n", result.stderr


def test_two_nodes_share_the_trials_and_a_diverging_one_is_recorded(tmp_path, environment, cluster):
    text = """
train.epochs = 2
ablate.dimensions = {'TAU': [3.0, 1e-45], 'train.seed': [0, 1]}
"""
    away = environment | {"RAY_ADDRESS": cluster, "WANDB_CONFIG_DIR": str(tmp_path)}
    sweep, output = finish(start(tmp_path, away, text), tmp_path, status=1)
    good, bad = sweep.trials[0::2], sweep.trials[1::2]
    assert "4 trials, 2 at once" in output
    assert [trial.status for trial in good] == 2 * ["finished"] and [trial.status for trial in bad] == 2 * ["failed"]
    assert len({trial.state["node"] for trial in sweep.trials}) == 2
    assert all(trial.state["reason"].startswith("DivergedError: the training loss became nan") for trial in bad)
    assert {trial.state["attempts"] for trial in sweep.trials} == {1}
    assert all(trial.result["luts_tables"] <= trial.result["tables"] == trial.tables == 50 for trial in good)
    assert all(0 <= trial.state["first_step"] - trial.state["started"] < TIMEOUT for trial in good)
    assert all(list(trial.path.glob("wandb/offline-run-*")) for trial in sweep.trials)
    assert (sweep.report / "report.html").exists()
    *lines, error = output.splitlines()
    assert "2 of 4 trials failed, the first is 0001: DivergedError: the training loss became nan" in error
    assert not [line for line in lines if "ray" in line.lower() or "wandb" in line]


@pytest.mark.needs("optuna")
def test_optuna_suggests_trials_and_asha_stops_some(tmp_path, environment, cluster):
    text = """
train.epochs = 9
tracking.mode = "disabled"
ablate.search = "optuna"
ablate.max_trials = 4
ablate.scheduler = "asha"
ablate.objectives = {'val_accuracy_hard': 'max', 'luts': 'min'}
ablate.seed = 11
ablate.dimensions = {'optimizers.adam.lr': [0.05, 1e-9], 'train.seed': [0, 1]}
"""
    sweep, output = finish(start(tmp_path, environment | {"RAY_ADDRESS": cluster}, text), tmp_path)
    assert [trial.values["train.seed"] for trial in sweep.trials] == ["0", "1", "0", "1"]
    assert [trial.values["optimizers.adam.lr"] for trial in sweep.trials] == ["0.05", "1e-09", "1e-09", "1e-09"]
    stopped = [trial for trial in sweep.trials if trial.status == "stopped"]
    assert sweep.trials[0].status == "finished" and len(stopped) >= 2
    assert all(len(epochs(trial)) < 9 and trial.result is None for trial in stopped)
    assert all(f"{trial.id}  stopped after epoch" in output for trial in stopped)
