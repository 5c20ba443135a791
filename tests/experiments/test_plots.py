import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.shared.figures import figure_at, log_ticks
from experiments.training.plots import summary_figure, table_statistics, training_curves

LAYERS = [{"layer": "learnable", "constant": 0.1, "saturated": 0.8}, {"layer": "random", "constant": 0, "saturated": 1}]


def metrics(epochs):
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 0.9,
            "val_accuracy_hard": 1 - 0.5 / epoch,
            "val_accuracy_relaxed": 1 - 0.4 / epoch,
            "gap": 0.1 / epoch,
            "learning_rate": 0.01,
        }
        for epoch in range(1, epochs + 1)
    ]


def counts(classes):
    return np.random.default_rng(0).integers(0, 9, (classes, classes)) + 100 * np.eye(classes, dtype=int)


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_training_curves_show_accuracy_gap_and_loss_by_epoch(tmp_path, figures):
    path = training_curves(metrics(20), tmp_path / "plots" / "curves.png")
    assert path == tmp_path / "plots" / "curves.png" and is_png(path)
    shown = panels(figures[0])
    lines = {line.get_label(): line for line in shown["Validation accuracy"].lines}
    assert lines["hard"].get_xydata().tolist() == [[epoch, 1 - 0.5 / epoch] for epoch in range(1, 21)]
    assert lines["relaxed"].get_ydata()[-1] == 0.98
    assert shown["Gap, relaxed minus hard"].lines[-1].get_ydata()[0] == 0.1
    assert shown["Training loss"].lines[0].get_ydata()[1] == 0.5


@pytest.mark.parametrize("epochs", [0, 1])
def test_training_curves_of_hardly_any_epochs(tmp_path, epochs):
    assert is_png(training_curves(metrics(epochs), tmp_path / "curves.png"))


def test_training_curves_leave_out_what_a_row_lacks(tmp_path, figures):
    rows = metrics(3)
    rows[1]["gap"] = None
    del rows[2]["gap"]
    training_curves(rows, tmp_path / "curves.png")
    assert panels(figures[0])["Gap, relaxed minus hard"].lines[-1].get_xdata().tolist() == [1]


def test_table_statistics_have_two_bars_a_layer(tmp_path, figures):
    assert is_png(table_statistics(LAYERS, tmp_path / "tables.png"))
    (axes,) = figures[0].axes
    widths = {group.get_label(): [bar.get_width() for bar in group] for group in axes.containers}
    assert widths == {"constant tables": [0.1, 0], "saturated entries": [0.8, 1]}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["learnable", "random"]


def summarized(matrix, names, tmp_path):
    return summary_figure(metrics(2), matrix, names, LAYERS, tmp_path / "summary.png")


@pytest.mark.parametrize("classes", [2, 10, 50])
def test_the_confusion_has_its_counts_while_they_can_be_read(tmp_path, figures, classes):
    matrix = counts(classes)
    assert is_png(summarized(matrix, [f"class {index}" for index in range(classes)], tmp_path))
    axes = panels(figures[0])["Hard network on the test set"]
    written = {text.get_position(): int(text.get_text()) for text in axes.texts}
    expected = {(column, row): count for (row, column), count in np.ndenumerate(matrix) if count}
    assert written == (expected if classes <= 20 else {})
    assert len(axes.get_xticklabels()) <= 40


def test_a_class_without_rows_can_be_drawn(tmp_path):
    assert is_png(summarized([[3, 0], [0, 0]], ["a", "b"], tmp_path))


def test_the_confusion_needs_one_name_a_class(tmp_path):
    with pytest.raises(ValueError, match=r"counts has shape \(3, 3\); 2 class names"):
        summarized(counts(3), ["a", "b"], tmp_path)


def test_the_summary_shows_every_panel_under_its_title(tmp_path, figures):
    path = summary_figure(metrics(5), counts(3), list("abc"), LAYERS, tmp_path / "summary.png", title="A network")
    assert is_png(path)
    titles = {"Validation accuracy", "Gap, relaxed minus hard", "Hard network on the test set", "Tables by layer"}
    assert set(panels(figures[0])) == titles
    assert figures[0].get_suptitle() == "A network"


def test_no_set_up_of_matplotlib_keeps_a_figure_from_being_drawn(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.format: none\nfont.size: 40\n")
    code = f"""
import os
from experiments.training.plots import training_curves
from experiments.report.style import looks
assert looks(["1", "2", "3"])
training_curves([{{"epoch": 1, "train_loss": 0.5}}], {str(tmp_path / "a.png")!r})
assert os.environ["MPLBACKEND"] == "module://no_such_package.backend"
import matplotlib
assert matplotlib.rcParams["font.size"] == 40
"""
    environment = {"MPLBACKEND": "module://no_such_package.backend", "MATPLOTLIBRC": str(tmp_path)}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, env=os.environ | environment)
    assert is_png(tmp_path / "a.png")


def test_names_of_classes_are_no_formulas(tmp_path, figures):
    names = ["$\\nothing$", "_"]
    assert is_png(summarized(counts(2), names, tmp_path))
    axes = panels(figures[0])["Hard network on the test set"]
    assert [label.get_text() for label in axes.get_xticklabels()] == names


@pytest.mark.parametrize("values,shown", [([0.02, 3], ["0.02", "0.05", "0.1"]), ([900, 4100], ["1,000", "2,000"])])
def test_a_logarithmic_axis_has_plain_numbers(tmp_path, figures, values, shown):
    with figure_at(tmp_path / "a.png", (6, 3)) as figure:
        axes = figure.subplots()
        axes.plot(values, [0, 1])
        axes.set_xscale("log")
        log_ticks(axes.xaxis, values)
    assert set(shown) <= {label.get_text() for label in axes.get_xticklabels()}


def test_plots_import_matplotlib_only_when_they_draw():
    code = "import sys, experiments.shared.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
