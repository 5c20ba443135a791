import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb

from difflut.config import ConfigurationError
from experiments.training.tracking import tracker

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("no_login")


def records(file):
    """The records of a .wandb file: 7 bytes, then a LevelDB log of protocol buffers in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, parts = Path(file).read_bytes(), 7, []
    while position + 7 <= len(data):
        if position % 32768 > 32768 - 7:
            position += -position % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)
        if position + 7 + size > len(data):
            return
        parts.append(data[position + 7 : position + 7 + size])
        position += 7 + size
        if kind in (1, 4):
            yield Record.FromString(b"".join(parts))
            parts = []


def all_records(file):
    # W&B's service writes the end of a finished run a moment after `finish` returns.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = list(records(file))
        if found and found[-1].HasField("exit"):
            return found
        time.sleep(0.01)
    raise TimeoutError(f"{file} has no exit record")


def recorded(folder):
    """The history, configuration, summary and exit codes that the offline runs in a folder recorded."""
    history, config, summary, exits = [], {}, {}, []
    for file in sorted(Path(folder).glob("wandb/offline-run-*/run-*.wandb")):
        for record in all_records(file):
            if record.HasField("run"):
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.HasField("history"):
                history.append(values(record.history.item))
            if record.HasField("summary"):
                summary |= values(record.summary.update)
            if record.HasField("exit"):
                exits.append(record.exit.exit_code)
    return history, config, summary, exits


def values(items):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def image(folder):
    from matplotlib.image import imsave

    imsave(folder / "curves.png", [[0.0, 1.0], [1.0, 0.0]])
    return folder / "curves.png"


def test_an_offline_run_records_what_it_was_given(tmp_path, capfd):
    (tmp_path / "model.pt").write_bytes(b"weights")
    shown = {"lr": 0.1, "layers": [20, 10], "node": {"n": 6}}
    with tracker(tags=("a", "b"), name="first")(tmp_path, shown) as run:
        run.log({"val_accuracy/hard": 0.5, "loss": 2.0}, step=0)
        run.log({"val_accuracy/hard": 0.75, "loss": 1.0}, step=1)
        run.log_image("curves", image(tmp_path))
        run.log({"seconds": 4.0}, step=1)
        run.log({"loss": 0.5}, step=2)
        run.log_artifact(tmp_path / "model.pt", "network", "model")
        run.finish({"test_accuracy": 0.7, "confusion": [[3, 1], [0, 4]]})
        run.finish({"test_accuracy": 0.0})

    history, config, summary, exits = recorded(tmp_path)
    assert [row["_step"] for row in history] == [0, 1, 2]
    assert [row["loss"] for row in history] == [2.0, 1.0, 0.5]
    assert [row.get("val_accuracy/hard") for row in history] == [0.5, 0.75, None]
    assert history[1]["seconds"] == 4.0
    assert history[1]["curves/_type"] == "image-file" and history[1]["curves/width"] == 2
    assert (config["lr"], config["layers"], config["node"]) == (0.1, [20, 10], {"n": 6})
    assert summary["test_accuracy"] == 0.7 and summary["confusion"] == [[3, 1], [0, 4]] and summary["loss"] == 0.5
    assert exits == [0]

    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert len(list(folder.glob("files/media/images/curves_*.png"))) == 1
    (file,) = folder.glob("run-*.wandb")
    artifact = next(record.artifact for record in all_records(file) if record.HasField("artifact"))
    assert (artifact.name, artifact.type) == ("network", "model")
    assert artifact.manifest.contents[0].local_path == str(tmp_path / "model.pt")
    output = capfd.readouterr()
    assert output.out == f"tracking: to upload: wandb sync {folder}\n" and output.err == ""


def test_long_and_empty_tags_turn_nothing_off(tmp_path, capsys):
    tags = ("a" * 64, "b" * 80, "", "c" * 40 + "=" + "d" * 40, "b" * 80)
    with tracker(tags=tags)(tmp_path, {}) as run:
        run.log({"loss": 1.0}, step=0)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    kept = next(list(record.run.tags) for record in all_records(file) if record.HasField("run"))
    assert kept == ["a" * 64, "b" * 31 + "…" + "b" * 32, "c" * 31 + "…" + "d" * 32]
    assert "tracking: off" not in capsys.readouterr().out


@pytest.mark.parametrize("project", ["a/b", "what?", "p" * 129])
def test_a_project_that_cannot_be_is_refused_before_there_is_a_folder(project):
    with pytest.raises(ConfigurationError, match=r"tracking\.project = .* must have at most 128 characters"):
        tracker(project=project)


def test_variables_of_the_environment_hold_where_nothing_else_is_said(tmp_path, monkeypatch):
    said = {"PROJECT": "p", "ENTITY": "e", "RUN_GROUP": "g", "JOB_TYPE": "j", "NAME": "n", "NOTES": "o", "TAGS": "x,y"}
    for name, value in said.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_RUN_ID", "shared")
    wandb.teardown()  # which has read the environment already, where another test has used it
    shown = []
    for folder, options in (("env", {}), ("own", {"project": "q", "group": "h", "tags": ("z",), "name": "m"})):
        with tracker(**options)(tmp_path / folder, {}) as run:
            run.log({"loss": 1.0}, step=0)
        (file,) = (tmp_path / folder).glob("wandb/offline-run-*/run-*.wandb")
        run = next(record.run for record in all_records(file) if record.HasField("run"))
        names = run.project, run.entity, run.run_group, run.job_type, run.display_name, run.notes
        shown.append(["".join(names), *run.tags])
    assert shown == [["pegjno", "x", "y"], ["qehjmo", "z", "x", "y"]]


@pytest.mark.parametrize("mode,started", [("disabled", False), ("dryrun", True), ("offline", True)])
def test_the_mode_of_the_environment_is_stronger(tmp_path, monkeypatch, mode, started):
    monkeypatch.setenv("WANDB_MODE", mode)
    tracker(mode="offline" if mode == "disabled" else "disabled")(tmp_path, {}).finish()
    assert bool(list(tmp_path.glob("wandb/offline-run-*"))) == started
    monkeypatch.setenv("WANDB_MODE", "of")
    with pytest.raises(ConfigurationError, match="the environment's WANDB_MODE: there is no 'of'; known: disabled"):
        tracker()


def test_a_resumed_run_keeps_its_id(tmp_path, capsys):
    for step in (0, 1):
        with tracker()(tmp_path, {}) as run:
            run.log({"loss": float(step)}, step=step)
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    ids = {file.name for file in tmp_path.glob("wandb/offline-run-*/run-*.wandb")}
    assert len(folders) == 2 and ids == {f"run-{(tmp_path / 'wandb/run_id').read_text()}.wandb"}
    assert capsys.readouterr().out.splitlines()[-1].split()[-2:] == [str(folder) for folder in folders]


def test_a_run_that_raises_is_marked_as_failed(tmp_path):
    with pytest.raises(ZeroDivisionError), tracker()(tmp_path, {}) as run:
        run.log({"loss": 1 / 0}, step=0)
    assert recorded(tmp_path)[3] == [1]


def test_two_runs_at_once_do_not_mix(tmp_path):
    with tracker()(tmp_path / "a", {}) as first, tracker()(tmp_path / "b", {}) as second:
        first.log({"loss": 1.0}, step=0)
        second.log({"loss": 2.0}, step=0)
    assert [recorded(tmp_path / name)[0][0]["loss"] for name in "ab"] == [1.0, 2.0]


def test_online_without_a_login_is_offline(tmp_path, capsys):
    with tracker(mode="online")(tmp_path, {}) as run:
        run.log({"loss": 1.0}, step=0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tracking: offline instead of online (no login; wandb login stores one)"
    assert "wandb sync" in lines[1] and recorded(tmp_path)[0][0]["loss"] == 1.0


def test_failures_are_told_once_and_do_not_stop_training(tmp_path, capsys):
    with tracker()(tmp_path, {}) as run:
        for _ in range(3):
            run.log_image("curves", tmp_path / "missing.png")
        run.log({"loss": 1.0}, step=0)
    output = capsys.readouterr().out
    assert output.count("tracking: log_image failed, training goes on (FileNotFoundError") == 1
    assert recorded(tmp_path)[0][0]["loss"] == 1.0


def test_a_run_that_cannot_start_is_told_and_not_tracked(tmp_path, capsys):
    (tmp_path / "wandb").write_text("a file where the folder should be")
    tracker()(tmp_path, {}).log({"loss": 1.0}, step=0)
    assert "tracking: off, the run could not be started" in capsys.readouterr().out


def test_without_wandb_training_goes_on_untracked(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with tracker()(tmp_path, {}) as run:
        run.log({"loss": 1.0}, step=0)
    assert "pip install wandb, or set tracking.mode = 'disabled'" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_wandb_that_cannot_be_imported_for_any_reason_tracks_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "wandb.py").write_text("raise TypeError('descriptors cannot be created')")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with tracker()(tmp_path / "run", {}) as run:
        run.log({"loss": 1.0}, step=0)
    assert "wandb cannot be imported (TypeError: descriptors cannot be created)" in capsys.readouterr().out


def test_an_unknown_mode_is_refused_before_there_is_a_folder():
    with pytest.raises(ValueError, match=r"tracking\.mode: there is no 'off'; known: disabled, offline, online"):
        tracker(mode="off")


def python(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_disabled_imports_no_wandb_and_writes_nothing(tmp_path):
    output = python(f"""
import sys
from experiments.training.tracking import tracker
with tracker(mode="disabled")({str(tmp_path)!r}, {{}}) as run:
    run.log({{"loss": 1.0}}, step=0)
    run.log_image("a", "a.png")
    run.log_artifact("a.pt", "a", "model")
    run.finish({{"loss": 1.0}})
print("wandb" in sys.modules)
""")
    assert output == "False\n"
    assert not list(tmp_path.glob("wandb*"))


def test_an_offline_run_leaves_the_network_alone(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        proxies = {name: proxy for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
        python(
            f"""
from experiments.training.tracking import tracker
with tracker()({str(tmp_path)!r}, {{}}) as run:
    run.log({{"loss": 1.0}}, step=0)
""",
            **proxies,
        )
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
