import csv
import re
from html.parser import HTMLParser

import pytest

from difflut.config import ConfigurationError
from experiments.report.published import ENCODER, FOLDER, published
from experiments.report.writing import write_report

SEEDS = {"train.seed": ["0", "1", "2"]}
NODES = {"node": ["dwn", "hybrid", "warp"]}
VOID = {"meta", "br", "img", "input", "link"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects what a page shows and refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text, self.rows = [], [], [], [], 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.rows += tag == "tr"
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [value for key, value in attributes.items() if key in ("src", "href", "xlink:href", "srcset")]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def reported(sweep):
    path = write_report(sweep.path)
    text = path.read_text()
    page = Page(text)
    # Nothing is fetched from anywhere, and every reference inside the page has its target.
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"url\((?!#)|@import", text)
    assert {link[1:] for link in page.links} <= set(page.ids) and len(set(page.ids)) == len(page.ids)
    return page, path.parent


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def pictures(folder):
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {path.stem for path in folder.glob("*.svg")}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    return names


def by_node(trial):
    accuracy = {"dwn": 0.9, "hybrid": 0.91, "warp": 0.95}[trial.values["node"]]
    return accuracy + {"0": 0, "1": 0.01, "2": 0.02}[trial.values["train.seed"]]


def test_a_sweep_over_one_dimension(made_up_sweep, capsys):
    sweep = made_up_sweep(NODES | SEEDS, by_node)
    page, folder = reported(sweep)
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "made up: 9 trials: 9 finished"
    assert " ".join(output[3].split()) == "1 warp 3/3 90.00 ± 1.00 96.00 ± 1.00 1.00 ± 0.00 100 ± 0 5.0 ± 0.0"
    assert output[-1] == f"report: {folder / 'report.html'}"
    rows = read(folder / "configurations.csv")
    assert [row["node"] for row in rows] == ["warp", "hybrid", "dwn"]
    assert float(rows[0]["test_accuracy_hard_mean"]) == pytest.approx(0.96)
    assert float(rows[0]["test_accuracy_hard_std"]) == pytest.approx(0.01)
    found = {row["value"]: float(row["difference_mean"] or 0) for row in read(folder / "effects.csv")}
    assert found == pytest.approx({"warp": 0.05, "hybrid": 0.01, "dwn": 0})
    assert "| 1 | warp | 3/3 | 90.00 ± 1.00 | 96.00 ± 1.00 |" in (folder / "report.md").read_text()
    # All have 100 LUTs, and one dimension needs no parallel coordinates.
    assert pictures(folder) == {"dimension_node", "curves"}
    assert "96.00 ± 1.00 %" in page.text


def test_failed_stopped_and_running_trials(made_up_sweep, capsys):
    ends = iter(["failed", "stopped", "running", None, *[0.9] * 5])
    page, folder = reported(made_up_sweep(NODES | SEEDS, lambda trial: next(ends)))
    output = capsys.readouterr().out
    assert "9 trials: 5 finished, 1 running, 1 pending, 1 stopped, 1 failed" in output
    assert "failed for a reason" in output and "stopped for a reason" in page.text
    statuses = [row["status"] for row in read(folder / "trials.csv")]
    assert statuses == ["failed", "stopped", "running", "pending", *["finished"] * 5]
    assert sorted(row["finished"] for row in read(folder / "configurations.csv")) == ["2", "3"]


def test_validation_rows_rank_and_the_test_set_does_not(made_up_sweep):
    tested = {"dwn": 0.7, "hybrid": 0.9, "warp": 0.8}
    sweep = made_up_sweep(NODES | SEEDS, by_node, test_accuracy_hard=lambda trial: tested[trial.values["node"]])
    rows = read(reported(sweep)[1] / "configurations.csv")
    assert [row["node"] for row in rows] == ["warp", "hybrid", "dwn"]
    assert [float(row["test_accuracy_hard_mean"]) for row in rows] == pytest.approx([0.8, 0.9, 0.7])
    assert float(rows[0]["val_accuracy_hard_mean"]) == pytest.approx(0.96 - 0.3 / 5)
    (sweep.trials[0].path / "metrics.jsonl").write_text("")  # one has no validation rows
    rows = read(reported(sweep)[1] / "configurations.csv")
    assert [row["node"] for row in rows] == ["warp", "hybrid", "dwn"]
    for trial in sweep.trials:
        (trial.path / "metrics.jsonl").write_text("")
    rows = read(reported(sweep)[1] / "configurations.csv")
    assert [row["node"] for row in rows] == ["hybrid", "warp", "dwn"]


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_that_effects_are_of_survivors_is_said_where_trials_were_stopped(made_up_sweep, end):
    page, folder = reported(made_up_sweep(NODES | SEEDS, lambda trial: end if trial.id in ("0000", "0004") else 0.9))
    caveat = "Effects and means are of survivors: 2 of 9 trials were stopped"
    assert (caveat in "".join(page.text)) == (caveat in (folder / "report.md").read_text()) == (end == "stopped")


@pytest.mark.parametrize("end", ["failed", "running", None])
def test_a_sweep_without_a_finished_trial_says_so(made_up_sweep, capsys, end):
    page, folder = reported(made_up_sweep(NODES | SEEDS, lambda trial: end))
    assert "No trial has finished yet." in page.text and pictures(folder) == set()
    assert f"9 trials: 9 {end or 'pending'}" in capsys.readouterr().out
    assert len(read(folder / "trials.csv")) == 9


def test_a_dimension_with_one_value_is_in_the_table_only(made_up_sweep):
    page, folder = reported(made_up_sweep({"node": ["dwn"]} | SEEDS))
    assert pictures(folder) == set() and "the only configuration" in page.text
    assert read(folder / "configurations.csv")[0]["node"] == "dwn"


def test_a_sweep_without_seeds(made_up_sweep):
    _, folder = reported(made_up_sweep(NODES))
    rows = read(folder / "configurations.csv")
    assert [row["test_accuracy_hard_std"] for row in rows] == [""] * 3
    assert {row["differences"] for row in read(folder / "effects.csv")} == {"0", "1"}


def test_a_large_sweep_has_every_figure_and_the_whole_table_at_the_end(made_up_sweep):
    dimensions = {
        "node": ["dwn", "hybrid", "warp", "light"],
        "layers.width": ["10", "20", "40", "80"],
        "a/n": ["2", "4", "6"],
        "flip": ["0", "0.1"],
    }
    sweep = made_up_sweep(dimensions | {"train.seed": ["0", "1"]}, luts=lambda trial: int(trial.values["layers.width"]))
    assert len(sweep.trials) == 192
    page, folder = reported(sweep)
    drawn = {
        "dimension_node",
        "dimension_layers_width",
        "dimension_a_n",
        "dimension_flip",
        "luts",
        "curves",
        "parallel",
    }
    assert pictures(folder) == drawn
    assert len(read(folder / "configurations.csv")) == 96
    assert "Best configurations" in page.text and "All configurations" in page.text


def test_a_random_search_over_ranges(made_up_sweep, capsys):
    numbers = [str(0.001 * 1.3**number) for number in range(20)]
    _, folder = reported(made_up_sweep({"lr": numbers, "node": ["dwn", "hybrid"]} | SEEDS))
    assert pictures(folder) == {"dimension_lr", "dimension_node", "curves"}
    assert {row["dimension"] for row in read(folder / "effects.csv")} == {"node"}
    assert "… and 10 more" in capsys.readouterr().out


def test_the_whole_cost_is_shown_and_its_parts_are_in_the_csv(made_up_sweep, capsys):
    parts = {"luts_encoder": 20, "luts_tables": 30, "luts_popcount": 40, "luts_chains": 70}
    argmax = lambda trial: len(trial.values["node"])  # noqa: E731
    whole = lambda trial: 90 + argmax(trial)  # noqa: E731
    _, folder = reported(made_up_sweep(NODES | SEEDS, by_node, luts=whole, luts_argmax=argmax, **parts))
    row = read(folder / "configurations.csv")[0]
    shown = {"luts": 94, "luts_argmax": 4, **parts}
    assert {name: float(row[f"{name}_mean"]) for name in shown} == shown
    output = capsys.readouterr().out
    assert "LUT6, encoder included" in output and " 94 ± 0 " in output and "luts" in pictures(folder)


def test_the_front_says_how_its_members_are_exported(made_up_sweep):
    sweep = made_up_sweep(NODES | SEEDS, by_node, luts=lambda trial: 100 * len(trial.values["node"]))
    page, folder = reported(sweep)
    dwn, warp = (f'export.run = "{sweep.path}/trials/{number:04d}"' for number in (2, 8))
    front = (folder / "report.md").read_text().split("## Pareto front")[1].split("##")[0]
    assert dwn in front and warp in front and front.count("export.gin") == 2 and front.index(dwn) < front.index(warp)
    assert "Pareto front" in page.text


def test_what_was_published_has_accuracy_luts_and_whether_the_encoder_is_counted():
    for file in FOLDER.glob("*.csv"):
        points = published(file.stem)
        assert points and all(0 < one.accuracy < 1 and one.luts > 0 and one.encoder in ENCODER for one in points)
    assert published("digits") == published(None) == []


def test_a_network_whose_cost_is_unknown_is_ranked_without_it(made_up_sweep):
    sweep = made_up_sweep(NODES | SEEDS, luts=lambda trial: {"dwn": None, "warp": 90}.get(trial.values["node"], 70))
    _, folder = reported(sweep)
    costs = {row["node"]: row["luts_mean"] for row in read(folder / "configurations.csv")}
    assert costs == {"dwn": "", "warp": "90.0", "hybrid": "70.0"} and "luts" in pictures(folder)


def test_running_a_sweep_on_changes_its_report(made_up_sweep):
    sweep = made_up_sweep(NODES | SEEDS, lambda trial: 0.9 if trial.values["train.seed"] == "0" else None)
    reported(sweep)
    sweep.trials[-1].record("failed", reason="killed")
    page, _ = reported(sweep)
    assert "killed" in page.text


def test_what_users_write_is_shown_as_they_wrote_it(made_up_sweep):
    sweep = made_up_sweep({"a<b>&": ["<script>x</script>", "y|z"]} | SEEDS, name='<i>"sweep"')
    sweep.trials[0].record("failed", reason="<b>NaN & inf</b>")
    page, folder = reported(sweep)
    for text in ("<script>x</script>", "a<b>&", '<i>"sweep"', "<b>NaN & inf</b>"):
        assert text in page.text
    assert "y\\|z" in (folder / "report.md").read_text()


# Matplotlib reads text between dollars as a formula, and this one is none; a legend leaves out what begins with "_".
MARKUP = ("$\\nothing$", "5 $ or 6 $", "_hidden", "50 % {x}^2")


def test_a_value_that_looks_like_a_formula_is_drawn_as_it_is(made_up_sweep, figures):
    _, folder = reported(made_up_sweep({"a $x_1$": list(MARKUP), "lr": ["1", "2"], "_d": ["x", "y"]} | SEEDS))
    assert len(pictures(folder)) == 5
    written = {text.get_text() for figure in figures for text in figure.findobj(lambda one: hasattr(one, "get_text"))}
    assert {*MARKUP, "a $x_1$", "_d"} <= written
    legends = [axes.get_legend() for figure in figures for axes in figure.axes if axes.get_legend()]
    assert sum([text.get_text() for text in legend.get_texts()] == list(MARKUP) for legend in legends) >= 2


def test_a_figure_that_fails_costs_no_other_part_of_the_report(made_up_sweep, monkeypatch, capsys):
    def failing(*arguments):
        raise RuntimeError("no fonts\nand more")

    monkeypatch.setattr("experiments.report.figures.learning_curves", failing)
    page, folder = reported(made_up_sweep(NODES | SEEDS))
    assert pictures(folder) == {"dimension_node"} and len(read(folder / "trials.csv")) == 9
    assert "figure 'Learning curves': left out (RuntimeError: no fonts)\n" in capsys.readouterr().out
    assert "Learning curves" not in page.text and "Configurations" in page.text


def test_a_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no sweep here; sweep.json is missing"):
        write_report(tmp_path)
