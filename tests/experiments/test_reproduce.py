import json
import re
import shutil
import statistics
from pathlib import Path

import pytest
import torch

import experiments  # noqa: F401
from difflut import config
from difflut.models import load_checkpoint, read_checkpoint
from experiments.data import dataset
from experiments.reproduction.papers import papers
from experiments.reproduction.summary import COSTS, accuracy_in_words
from experiments.shared.costs import SIZES
from experiments.shared.failures import MismatchError

ROOT = Path(__file__).parents[2]
FILE = """
# Published: 99.5 % (somewhere).
run.job = @reproduce
reproduce.name = "tiny_digits"
reproduce.paper = "Tiny"
reproduce.network = "60, n=3"
reproduce.published = 99.5
reproduce.goal = 99.9
reproduce.remarks = "one epoch"
reproduce.seeds = [0, 3]
reproduce.at_once = 2
train.network = @network
train.optimizer = @optimizers.adam
train.epochs = 2
train.checkpoint_seconds = None
dataset.name = "digits"
dataset.validation_fraction = 0.0
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@layers.random]
layers.random.output_size = 60
layers.random.node_type = @nodes.dwn
nodes.dwn.input_dim = 3
network.tau = 2.0
tracking.mode = "disabled"
"""


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers")
    (folder / "tiny_digits.gin").write_text(FILE)
    (folder / "not_yet.gin").write_text(FILE.replace("99.5", "12.25").replace("tiny_digits", "not_yet"))
    config.parse([str(folder / "tiny_digits.gin")], [f'reproduce.runs = "{folder}/runs"'])
    return folder, config.run()


def test_each_seed_leaves_a_run_folder_that_repeats_it(reproduced):
    folder, summary = reproduced
    (parent,) = (folder / "runs").iterdir()
    assert json.loads((parent / "reproduction.json").read_text()) == summary
    for number, seed in enumerate(summary["seeds"]):
        (run,) = parent.glob(f"seed_{seed}-*/")
        result = json.loads((run / "result.json").read_text())
        assert result["seed"] == seed and result["best_epoch"] == 2
        assert 100 * result["test_accuracy_hard"] == summary["hard"][number]
        assert not (run / "last.pt").exists() and (run / "best.pt").exists()
        text = (run / "config.gin").read_text()
        assert "run.job = @train" in text and f"train.seed = {seed}" in text


def test_the_last_line_says_what_came_out(reproduced, capsys):
    from experiments.reproduction.summary import summary_in_words

    _, summary = reproduced
    mean = statistics.fmean(summary["hard"])
    line = summary_in_words(summary)
    assert f"measured {accuracy_in_words(summary['hard'])} % (2 seeds)" in line and "published 99.50 %" in line
    assert f"difference {mean - 99.5:+.2f}" in line and "goal 99.90 % missed" in line and "LUT6 (tables " in line


def test_the_table_holds_the_rows_that_were_run_and_those_that_were_not(reproduced):
    folder, summary = reproduced
    config.parse(
        [str(ROOT / "gin_configs/papers.gin")],
        [f'papers.configs = "{folder}"', f'papers.runs = "{folder}/runs"', f'papers.write = "{folder}/papers.md"'],
    )
    config.run()
    table = (folder / "papers.md").read_text()
    assert f"| 99.50 | 99.90 | {accuracy_in_words(summary['hard'])} (missed) | 2 |" in table
    assert "| Tiny | digits | 60, n=3 | 12.25 | 99.90 | not run |" in table
    assert f"`python run.py --gin_file {folder}/tiny_digits.gin`" in table and "- tiny_digits: one epoch" in table


def titled(table, start):
    """The row of a table with this text, by title."""
    titles, row = (
        next(line.split(" | ") for line in table.splitlines() if text in line) for text in ("| paper", start)
    )
    return dict(zip(titles[1:-1], row[1:-1], strict=True))


def test_a_row_says_all_that_a_network_is_and_takes(reproduced):
    folder, summary = reproduced
    assert summary["tables"] == summary["lookups"] == 60
    assert summary["bits"] == 60 * (8 + 3 * 7)  # 128 bits of the encoder have numbers of seven digits
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/seed_*/result.json"))]
    for key, name in (("seconds", "train_seconds"), ("cpu_seconds", "cpu_seconds"), ("peak_bytes", "peak_bytes")):
        assert summary[key] == [run[name] for run in runs] and min(summary[key]) > 0
    assert summary["simplified"] == [True, True]
    cells = titled(papers(str(folder), f"{folder}/runs", f"{folder}/row.md"), "| 99.50")
    assert (cells["tables"], cells["look-ups"], cells["bits"]) == ("60", "60", "1,740")
    assert re.fullmatch(r"[\d,]+ LUT6 \(tables \d+, popcount \d+, argmax \d+, encoder \d+\)", cells["LUT6"])
    assert re.fullmatch(r"\d+ s \(\d+ CPU s\) and [\d.]+ GiB on CPU", cells["time"])


def test_a_reproduction_that_was_stopped_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny_digits.gin").write_text(FILE.replace("seconds = None", "seconds = 0"))

    def run(*parameters):
        bindings = [f'reproduce.runs = "{tmp_path}/runs"', "reproduce.at_once = 1", *parameters]
        config.parse([str(tmp_path / "tiny_digits.gin")], bindings)
        return config.run()

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("experiments.reproduction.reproduce._check", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    (folder,) = (tmp_path / "runs").iterdir()
    resume = f'reproduce.resume = "{folder}"'
    assert f"{folder}/config.gin" in (told := capsys.readouterr().err) and "reproduce.resume" in told
    with pytest.raises(config.ConfigurationError, match=r"cannot be continued with this configuration: train\.epochs"):
        run(resume, "train.epochs = 3")
    with pytest.raises(config.ConfigurationError, match="nowhere"):
        run(f'reproduce.resume = "{tmp_path}/nowhere"')
    (first,) = folder.glob("seed_0-*/result.json")
    before = first.read_bytes(), first.stat().st_mtime_ns
    for half in folder.glob("seed_3-*/"):  # as far as it got
        shutil.rmtree(half)
    config.parse(
        [str(folder / "config.gin")],
        ["run.job = @train", "train.seed = 3", "train.epochs = 1", 'train.name = "seed_3"', f'train.runs = "{folder}"'],
    )
    config.run()
    (half,) = folder.glob("seed_3-*/")
    (half / "result.json").unlink()  # stopped after its first epoch
    summary = run(resume, "reproduce.at_once = 2")
    assert [path.name for path in folder.glob("seed_*/")].count(half.name) == 1
    assert len(list(folder.glob("seed_*/"))) == 2 and len((half / "metrics.jsonl").read_text().splitlines()) == 2
    assert summary["seeds"] == [0, 3] and before == (first.read_bytes(), first.stat().st_mtime_ns)


def test_networks_of_several_trainings_are_one(tmp_path):
    text = FILE.replace("seeds = [0, 3]", "seeds = [1]\nreproduce.members = 2").replace("epochs = 2", "epochs = 40")
    (tmp_path / "two.gin").write_text(text)
    config.parse([str(tmp_path / "two.gin")], [f'reproduce.runs = "{tmp_path}/runs"'])
    summary = config.run()
    assert summary["seeds"] == [1] and summary["tables"] == 120
    (run,) = tmp_path.glob("runs/*/ensemble_1-*/")
    result = json.loads((run / "result.json").read_text())
    members = [json.loads(Path(member, "result.json").read_text()) for member in result["members"]]
    assert [member["seed"] for member in members] == [2, 3]
    assert result["train_seconds"] == pytest.approx(sum(member["train_seconds"] for member in members))
    assert summary["hard"] == [100 * result["test_accuracy_hard"]]
    assert summary["hard"][0] > 100 * max(member["test_accuracy_hard"] for member in members)


def test_the_network_of_one_training_also_votes_on_mirrored_images(tmp_path):
    text = FILE.replace("seeds = [0, 3]", "seeds = [2]\nreproduce.mirrored = True")
    (tmp_path / "both.gin").write_text(f"{text}\nencoders.thermometer.detectors = [@detectors.edges()]\n")
    config.parse([str(tmp_path / "both.gin")], [f'reproduce.runs = "{tmp_path}/runs"'])
    summary = config.run()
    assert summary["tables"] == 120 and summary["circuit_rows"] == [360]
    (run,), (trained,) = (list(tmp_path.glob(f"runs/*/{name}_2-*/")) for name in ("ensemble", "seed"))
    together, alone = (load_checkpoint(path / "best.pt") for path in (run, trained))
    images = dataset("digits").x_test
    assert together.encoder.output_size > alone.encoder.output_size
    torch.testing.assert_close(together(images), (alone(images) + alone(images.flip(2))) / 2)
    assert read_checkpoint(run / "best.pt")["tables"]  # the hard network alone
    assert json.loads((run / "result.json").read_text())["mirrored"] is True


def test_runs_that_cannot_be_combined_are_refused(reproduced, tmp_path):
    folder, _ = reproduced
    run = str(next((folder / "runs").glob("*/seed_0-*")))
    for members, message in (
        ([run], r"combine.members must be different folders, .* unless combine.mirrored = True; got \['"),
        ([run, run], r"combine.members must be different folders"),
        ([run, f"{run}/../{Path(run).name}"], r"combine.members must be different folders"),
        ([run, str(tmp_path)], r"no finished run here"),
        ([run, "mnist-4000"], r"mnist-4000 is of mnist, dataset.name says digits"),
        ([run, "digits-2000"], r"digits-2000 has no metrics.jsonl; members must be runs that trained here"),
    ):
        config.parse([str(folder / "tiny_digits.gin")], ["run.job = @combine", f"combine.members = {members}"])
        with pytest.raises((config.ConfigurationError, FileNotFoundError), match=message):
            config.run()


def test_a_circuit_too_large_to_simplify_is_counted_as_trained_and_said_so(reproduced):
    from experiments.data import dataset
    from experiments.reproduction.papers import _row
    from experiments.reproduction.reproduce import _check

    folder, summary = reproduced
    (run,) = (folder / "runs").glob("*/seed_3-*/")
    config.parse([str(folder / "tiny_digits.gin")])
    as_trained, simplified = (_check(run, 3, dataset(), largest) for largest in (59, 60))
    assert simplified["luts_tables"] < as_trained["luts_tables"] == 60
    assert (as_trained["simplified"], simplified["simplified"]) == (False, True)
    costs = {key: [as_trained[key]] for key in COSTS}
    row = _row(summary | costs | {"dataset.name": "digits"})
    assert f"{as_trained['luts']:,} LUT6 as trained (tables 60" in row["LUT6"]


def test_the_table_keeps_rows_whose_runs_are_not_here(reproduced):
    folder, _ = reproduced
    table = papers(str(folder), f"{folder}/runs", f"{folder}/kept.md")
    assert papers(f"{folder}/", f"{folder}/elsewhere", f"{folder}/kept.md") == table
    assert papers(str(folder), f"{folder}/elsewhere", f"{folder}/new.md").count("not run") == 2


def test_a_row_of_an_earlier_table_keeps_its_cells_under_their_titles(reproduced, tmp_path):
    folder, _ = reproduced
    command = f"`python run.py --gin_file {folder}/not_yet.gin`"
    old = f"| paper | tables | time | command |\n|---|--:|--:|---|\n| T | 7 | 8 s | {command} |\n"
    (tmp_path / "old.md").write_text(old)
    table = papers(str(folder), str(tmp_path), str(tmp_path / "old.md"))
    cells = titled(table, "not_yet.gin")
    assert {title: text for title, text in cells.items() if text} == {"tables": "7", "time": "8 s"}


def test_a_circuit_that_differs_from_the_reported_accuracy_is_an_error(reproduced):
    from experiments.data import dataset
    from experiments.reproduction.reproduce import _check

    folder, _ = reproduced
    (run,) = (folder / "runs").glob("*/seed_0-*/")
    config.parse([str(folder / "tiny_digits.gin")])
    data = dataset()
    (run / "result.json").write_text(json.dumps({"seed": 0, "test_accuracy_hard": 0.5}))
    with pytest.raises(MismatchError, match=r"in 0 of 360 test rows .* reported 50\.0000%"):
        _check(run, 0, data, 0)


def test_a_failed_seed_names_its_output(tmp_path):
    (tmp_path / "wrong.gin").write_text(FILE + 'train.device = "tpu"\n')
    config.parse([str(tmp_path / "wrong.gin")], [f'reproduce.runs = "{tmp_path}/runs"', "reproduce.seeds = [0]"])
    with pytest.raises(RuntimeError, match=r"seed_0 failed .* there is no 'tpu' here; .*; all of its output: "):
        config.run()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("reproduce.seeds = [0, -1]", "^each of reproduce.seeds must be a whole number, 0 to 4294967295; got -1"),
        (
            "reproduce.seeds = [0, 99999999999]",
            "^each of reproduce.seeds must be .*, 0 to 4294967295; got 99999999999",
        ),
        ("reproduce.seeds = [4294967296]", "^each of reproduce.seeds must be .*, 0 to 4294967295; got 4294967296"),
        ("layers.random.output_size = 61", "^train.seed = 0: .*61 features cannot be divided into k=10 equal groups"),
        ('dataset.name = "nope"', "^train.seed = 0: .*'nope'"),
        ("train.batch_size = 0", "^train.seed = 0: .*batch_size=0"),
        ("reproduce.seeds = []", "reproduce.seeds must be one or more different seeds"),
        ("reproduce.seeds = [1, 2, 1]", r"different seeds, got \[1, 2, 1\]"),
        ("reproduce.at_once = 0", "reproduce.at_once must be a whole number, 1 or more; got 0"),
        ("reproduce.simplified = -1", "reproduce.simplified must be a whole number, 0 or more; got -1"),
        (
            "reproduce.members = 2\nreproduce.seeds = [4000000000]",
            "^the last training of each of reproduce.seeds must be .*, 0 to 4294967295; got 8000000001",
        ),
        (
            "reproduce.members = 2\ndataset.validation_fraction = 0.1\n"
            "network.encoder = @encoders.gaussian_thermometer()",
            r"^networks\[1\] has another encoder than networks\[0\], or other thresholds; .*validation_fraction = 0.0",
        ),
        ("reproduce.members = 3\nnetwork.use_randperm = True", r"^networks\[0\]: an ensemble needs use_randperm=False"),
        (
            "reproduce.mirrored = True",
            r"^encoders without detectors are one where they have the same thresholds, .* feature_wise='channels'",
        ),
        (
            "reproduce.members = 2\nencoders.thermometer.learnable = True",
            r"^networks\[0\] has learnable thresholds, which differ once they are trained",
        ),
    ],
)
def test_what_cannot_be_reproduced_is_refused_before_there_is_a_folder(tmp_path, wrong, said):
    (tmp_path / "tiny_digits.gin").write_text(FILE)
    parameters = [f'reproduce.runs = "{tmp_path}/runs"', wrong]
    config.parse([str(tmp_path / "tiny_digits.gin")], parameters)
    with pytest.raises(config.ConfigurationError, match=said):
        config.run()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("used", "said"), [(["a GPU", "a GPU"], "a GPU"), (["a GPU", "CPU"], "CPU, a GPU")])
def test_the_device_is_that_of_the_runs(used, said):
    from experiments.reproduction.summary import summarized

    keys = ("dataset", "epochs", *SIZES, *COSTS, "seed", "test_accuracy_hard", "gap", "circuit_rows")
    keys += ("train_seconds", "cpu_seconds", "peak_bytes")
    assert summarized([dict.fromkeys(keys, 1) | {"device": device} for device in used])["device"] == said


def test_circuits_that_were_not_compared_are_no_claim(reproduced):
    from experiments.reproduction.papers import _row

    _, summary = reproduced
    bound = {"dataset.name": "digits"}
    assert _row(summary | bound)["circuit"] == "720"
    assert _row(summary | bound | {"circuit_rows": []})["circuit"] == "not compared"
    assert _row(summary | bound | {"gap": []})["gap"] == "not measured"


def test_one_value_has_no_deviation():
    assert accuracy_in_words([97.0]) == "97.00"
    assert accuracy_in_words([97.0, 98.0, 99.5]) == "98.17 ± 1.26"


@pytest.mark.parametrize("file", sorted((ROOT / "gin_configs/papers").glob("*.gin")), ids=lambda file: file.stem)
def test_every_paper_has_a_file_that_says_what_it_reproduces(file):
    names = [f"reproduce.{key}" for key in ("name", "paper", "network", "published")]
    bound = config.read_bindings(file, [*names, "run.job", "dataset.name"])
    assert bound["reproduce.name"] == file.stem
    header = file.read_text().split("\n\n")[0]
    assert f"python run.py --gin_file gin_configs/papers/{file.name}" in header
    published = re.search(r"# Published: ([\d.]+) %", header)
    assert (published and float(published[1])) == bound.get("reproduce.published")


@pytest.mark.parametrize("file", sorted((ROOT / "gin_configs/papers").glob("*.gin")), ids=lambda file: file.stem)
def test_the_file_of_a_paper_says_what_the_table_does(file):
    (line,) = re.findall(rf"^\| (.*papers/{file.name}`) \|$", (ROOT / "docs/papers.md").read_text(), re.MULTILINE)
    cells = line.split(" | ")
    if cells[5].strip() == "not run":
        said = "not yet"
    else:
        seconds, device = re.match(r"([\d,]+ s).*(CPU|NVIDIA \w+)", cells[13]).groups()
        article, seed = "a" if device == "CPU" else "an", "one" if cells[6] == "1" else "each"
        said = f"{cells[5].removesuffix(' (missed)')} %, {seed} seed in {seconds} on {article} {device}"
    assert f"# Measured: {said}.\n" in file.read_text().split("\n\n")[0], f"put '# Measured: {said}.' into its header"


def test_distillation_needs_only_the_gin_file_and_can_be_continued(tmp_path):
    lines = """
run.job = @train
train.loss = @losses.distillation
train.teacher = @teachers.trained
teachers.trained.network = @teachers.dense
teachers.trained.epochs = 2
teachers.dense.width = 16
train.augmentation = @augmentations.shift
train.checkpoint_seconds = 0
network.group_sum = @layers.GroupSum
layers.GroupSum.learn_tau = True
"""
    (tmp_path / "taught.gin").write_text(FILE + lines)

    def run(*parameters):
        config.parse([str(tmp_path / "taught.gin")], list(parameters))
        return config.run()

    whole = run(f'train.runs = "{tmp_path}/whole"')
    run(f'train.runs = "{tmp_path}/part"', "train.epochs = 1")
    (folder,) = (tmp_path / "part").iterdir()
    torch.manual_seed(5)
    continued = run(f'train.resume = "{folder}"')
    keys = ("test_accuracy_hard", "best_epoch")
    assert [whole[key] for key in keys] == [continued[key] for key in keys]
    (other,) = (tmp_path / "whole").iterdir()
    losses = [
        json.loads((path / "metrics.jsonl").read_text().splitlines()[1])["train_loss"] for path in (folder, other)
    ]
    assert losses[0] == losses[1]
    taught = bytearray((folder / "teacher.pt").read_bytes())
    taught[len(taught) // 2] ^= 1
    (folder / "teacher.pt").write_bytes(taught)
    with pytest.raises(config.ConfigurationError, match=r"teacher\.pt: damaged"):
        run(f'train.resume = "{folder}"', "train.epochs = 3")


def test_a_table_of_nothing_is_refused(tmp_path):
    with pytest.raises(config.ConfigurationError, match="nowhere': no Gin files here"):
        papers(f"{tmp_path}/nowhere", str(tmp_path), f"{tmp_path}/papers.md")
    (tmp_path / "bare.gin").write_text("run.job = @train\n")
    with pytest.raises(config.ConfigurationError, match=r"bare\.gin: reproduce\.paper must be set"):
        papers(str(tmp_path), str(tmp_path), f"{tmp_path}/papers.md")
    assert not (tmp_path / "papers.md").exists()
