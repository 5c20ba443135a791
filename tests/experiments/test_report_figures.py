from dataclasses import replace

import numpy as np
import pytest

from experiments.report.effects import paired_effects
from experiments.report.figures import accuracy_against, by_value, learning_curves, parallel_coordinates
from experiments.report.outcomes import ACCURACY, VALIDATION, Outcome, configurations, pareto_front
from experiments.report.published import Published
from experiments.report.style import looks
from experiments.report.tables import LUTS, SECONDS, TABLES

ACCURACIES = {"a": 0.9, "b": 0.92, "c": 0.85}
LOOKS = looks(list(ACCURACIES))


def trial(node, width, seed, status="finished"):
    accuracy = ACCURACIES[node] + 0.01 * int(width) + 0.002 * int(seed)
    curve = [{"epoch": epoch, VALIDATION: accuracy - 0.1 / epoch} for epoch in range(1, 9 + int(seed))]
    scores = {ACCURACY: accuracy, "luts": 100 * int(width)}
    return Outcome("0", {"node": node, "width": width}, seed, status, None, scores, curve)


OUTCOMES = [trial(node, width, seed) for node in "abc" for width in "12" for seed in "012"]


def test_bars_are_the_effects_and_dots_the_single_runs(tmp_path, figures):
    effects = paired_effects(OUTCOMES, "node", list("abc"))
    by_value(OUTCOMES, effects, LOOKS, "node", tmp_path / "node.png")
    runs, bars = figures[0].axes
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.02, -0.05])
    assert [label.get_text() for label in runs.get_yticklabels()] == ["a", "b", "c"]
    shown = sorted(x for line in runs.lines if line.get_alpha() for x in line.get_xdata())
    assert shown == pytest.approx(sorted(one.scores[ACCURACY] for one in OUTCOMES))
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg"}


def test_a_learning_curve_is_the_mean_over_seeds_with_their_deviation(tmp_path, figures):
    spoilt = [trial("a", "2", "0", status) for status in ("running", "stopped", "failed")]
    learning_curves([*OUTCOMES, *spoilt], {"node": LOOKS}, tmp_path / "curves.png")
    (panel,) = figures[0].axes
    line, band = panel.lines[0], panel.collections[0]
    # The shortest trial has eight epochs.
    expected = [0.9 + 0.015 + 0.002 - 0.1 / epoch for epoch in range(1, 9)]
    assert line.get_ydata() == pytest.approx(expected) and line.get_color() == LOOKS["a"].colour
    last = [y for x, y in band.get_paths()[0].vertices if x == 8]
    assert (min(last), max(last)) == pytest.approx((expected[-1] - 0.002, expected[-1] + 0.002))


def test_the_front_is_drawn_as_steps_with_the_ranks_of_its_members(tmp_path, figures):
    ranked = configurations(OUTCOMES)
    front = pareto_front(ranked, "luts")
    others = [Published("DWN", 0.95, 50, "not counted"), Published("TreeLUT", 0.9, 900, "counted")]
    accuracy_against(LUTS, ranked, front, "node", LOOKS, others, tmp_path / "luts.png")
    (panel,) = figures[0].axes
    assert panel.lines[0].get_xydata() == pytest.approx(np.array([[100, 0.932], [200, 0.942]]))
    assert [text.get_text() for text in panel.texts] == ["2", "1", "DWN", "TreeLUT"] and panel.get_xscale() == "log"
    legend = [text.get_text() for text in panel.get_legend().get_texts()]
    assert legend == ["a", "b", "c", "published, encoder not counted", "published, encoder counted"]


@pytest.mark.parametrize("cost", [TABLES, SECONDS])
def test_accuracy_is_drawn_against_any_cost(tmp_path, figures, cost):
    costs = {"1": 40.0, "2": 7.0}
    outcomes = [replace(one, scores=one.scores | {cost.key: costs[one.values["width"]]}) for one in OUTCOMES]
    ranked = configurations(outcomes)
    accuracy_against(cost, ranked, pareto_front(ranked, cost.key), "node", LOOKS, [], tmp_path / "cost.png")
    (panel,) = figures[0].axes
    assert panel.get_xlabel() == cost.title
    assert panel.lines[0].get_xydata() == pytest.approx(np.array([[7, 0.942]]))


def test_parallel_coordinates_have_a_line_a_configuration(tmp_path, figures):
    ranked = configurations(OUTCOMES)
    parallel_coordinates(ranked, {"node": list("abc"), "width": list("12")}, tmp_path / "parallel.png")
    (panel,) = figures[0].axes
    assert len(panel.patches) == len(ranked) == 6
    ends = sorted(patch.get_path().vertices[-1][1] for patch in panel.patches)
    assert ends[0] == 0 and ends[-1] == 1
