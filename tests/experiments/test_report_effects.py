import itertools
import math
import random
import statistics
from dataclasses import replace

import pytest

from experiments.report.effects import effects, fitted_effects, paired_effects
from experiments.report.outcomes import ACCURACY, VALIDATION, Outcome, configurations, is_logarithmic, pareto_front
from experiments.report.style import looks

NODES, WIDTHS, SEEDS = {"a": 0.0, "b": 0.02, "c": -0.05}, {"10": 0.5, "20": 0.7, "40": 0.8}, ("0", "1", "2")


def trial(accuracy, seed="0", status="finished", luts=100, **values):
    return Outcome("0000", values, seed, status, None, {ACCURACY: accuracy, "luts": luts}, [])


def grid():
    seeds = {"0": 0.0, "1": 0.003, "2": -0.001}
    return [
        trial(NODES[node] + WIDTHS[width] + seeds[seed], seed, node=node, width=width)
        for node, width, seed in itertools.product(NODES, WIDTHS, SEEDS)
    ]


def by_value(found):
    return {effect.value: effect for effect in found}


def test_effects_of_a_full_grid_are_differences_of_means():
    found = by_value(effects(grid(), "node", NODES))
    assert {value: effect.reference for value, effect in found.items()} == dict.fromkeys(NODES, "a")
    assert {value: len(effect.differences) for value, effect in found.items()} == {"a": 0, "b": 9, "c": 9}
    assert found["b"].mean == pytest.approx(0.02) and found["b"].better == 9
    assert found["c"].mean == pytest.approx(-0.05) and found["c"].better == 0
    assert found["c"].error == pytest.approx(0, abs=1e-12) and found["a"].mean is None


@pytest.mark.parametrize("seed", range(4))
def test_conditions_and_trials_missing_whatever_their_score_do_not_bias_effects(seed):
    # "c" is tried at width 10 only, "a" fails more often where it is good.
    noise = random.Random(seed)
    chance = {("a", "40"): 0.3}
    kept = [
        one for one in grid()
        if noise.random() < chance.get(tuple(one.values.values()), 0.9)
        and (one.values["node"] != "c" or one.values["width"] == "10")
    ]  # fmt: skip
    found = by_value(effects(kept, "node", NODES))
    assert found["b"].mean == pytest.approx(0.02) and found["c"].mean == pytest.approx(-0.05)
    plain = {value: [one.scores[ACCURACY] for one in kept if one.values["node"] == value] for value in NODES}
    assert abs(statistics.fmean(plain["c"]) - statistics.fmean(plain["a"]) + 0.05) > 0.02


def random_search(number, scatter=0.0):
    noise = random.Random(0)
    rates = [10 ** noise.uniform(-4, -1) for _ in range(number)]
    return [
        trial(
            NODES[node] + WIDTHS[width] - 0.05 * (math.log10(rate) + 2) ** 2 + noise.gauss(0, scatter),
            node=node, width=width, lr=f"{rate:.3g}",
        )
        for rate in rates for node, width in [(noise.choice(list(NODES)), noise.choice(list(WIDTHS)))]
    ]  # fmt: skip


def test_a_random_search_gets_the_effects_of_a_fit():
    found = by_value(effects(random_search(40), "node", NODES))
    assert all(effect.fitted and effect.reference == "a" for effect in found.values())
    # The numbers are rounded to three places in their names.
    assert found["b"].mean == pytest.approx(0.02, abs=1e-3) and found["c"].mean == pytest.approx(-0.05, abs=1e-3)


def test_the_error_of_a_fit_covers_its_scatter():
    found = by_value(effects(random_search(200, scatter=0.01), "node", NODES))
    assert found["b"].error == pytest.approx(0.01 * (2 / 67) ** 0.5, rel=0.3)
    assert abs(found["b"].mean - 0.02) < 3 * found["b"].error
    assert len(found["b"].differences) == sum(one.values["node"] == "b" for one in random_search(200, scatter=0.01))


def test_a_fit_of_a_full_grid_is_the_mean_of_its_pairs():
    fitted, paired = fitted_effects(grid(), "node", list(NODES)), paired_effects(grid(), "node", NODES)
    for one, other in zip(fitted[1:], paired[1:], strict=True):
        assert one.mean == pytest.approx(other.mean)


@pytest.mark.parametrize("number", [4, 10])
def test_too_few_trials_are_not_fitted(number):
    assert not any(effect.fitted for effect in effects(random_search(number), "node", NODES))


def test_the_error_is_the_deviation_over_the_root_of_the_pairs():
    pairs = [trial(x, seed, node=node) for node, xs in {"a": (0.5, 0.6), "b": (0.6, 0.9)}.items()
             for seed, x in zip("01", xs, strict=True)]  # fmt: skip
    effect = by_value(effects(pairs, "node", "ab"))["b"]
    assert effect.differences == pytest.approx((0.1, 0.3)) and effect.mean == pytest.approx(0.2)
    assert effect.error == pytest.approx(statistics.stdev([0.1, 0.3]) / 2**0.5)


def test_a_single_pair_has_no_error_and_unmatched_trials_no_effect():
    found = by_value(
        paired_effects([trial(0.5, n="1", m="x"), trial(0.6, n="2", m="x"), trial(0.9, n="3", m="y")], "n", "123")
    )
    assert found["2"].mean == pytest.approx(0.1) and found["2"].error is None
    assert found["3"].mean is None and found["3"].differences == ()


def test_only_finished_trials_count():
    spoilt = [trial(0.0, seed, status, node=node, width="10") for seed in SEEDS for node in NODES
              for status in ("running", "failed", "stopped")]  # fmt: skip
    assert effects(grid() + spoilt, "node", NODES) == effects(grid(), "node", NODES)
    assert effects(spoilt, "node", NODES) == []


def test_the_reference_is_the_first_value_that_can_be_compared_with_most_others():
    apart = [trial(0.5, node="a", width="10"), trial(0.6, node="b", width="10"),
             trial(0.7, node="b", width="20"), trial(0.8, node="c", width="20")]  # fmt: skip
    found = by_value(paired_effects(apart, "node", "abc"))
    assert {effect.reference for effect in found.values()} == {"b"}
    assert found["a"].mean == pytest.approx(-0.1) and found["c"].mean == pytest.approx(0.1)


def test_trials_that_are_equal_in_everything_are_averaged_first():
    twice = [trial(0.5, node="a"), trial(0.7, node="a"), trial(0.9, node="b")]
    assert by_value(effects(twice, "node", "ab"))["b"].differences == pytest.approx((0.3,))


def test_configurations_average_over_seeds_and_the_best_is_first():
    outcomes = [*grid(), trial(0.0, "3", "failed", node="b", width="40")]
    ranked = configurations(outcomes)
    assert [tuple(one.values.values()) for one in ranked[:2]] == [("b", "40"), ("a", "40")]
    assert (len(ranked[0].finished), ranked[0].planned) == (3, 4)
    assert ranked[0].mean(ACCURACY) == pytest.approx(0.82 + 0.002 / 3)
    assert ranked[0].deviation(ACCURACY) == pytest.approx(statistics.stdev([0, 0.003, -0.001]))
    assert not ranked[0].scores("unknown") and ranked[0].deviation("unknown") is None


def test_a_deviation_needs_two_runs():
    assert configurations([trial(0.8, node="a")])[0].deviation(ACCURACY) is None
    pair = configurations([trial(0.8, "0", node="a"), trial(0.7, "1", node="a")])[0]
    assert pair.deviation(ACCURACY) == pytest.approx(0.1 / math.sqrt(2))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([1, 10, 100, 1000, 10_000], True),
        ([3, 1, 2], False),
        ([0, 1, 1, 100], False),
        ([1, 2, 6], False),
        ([1, 2, 7], True),
    ],
)
def test_numbers_dense_at_their_lower_end_are_logarithmic(numbers, said):
    assert is_logarithmic(numbers) is said


@pytest.mark.parametrize("seed", range(5))
def test_the_pareto_front_is_what_nothing_dominates(seed):
    noise = random.Random(seed)
    outcomes = [trial(noise.randint(0, 9) / 10, luts=noise.randint(1, 9), id=str(number)) for number in range(40)]
    ranked = configurations(outcomes)
    points = {(one.mean("luts"), one.mean(ACCURACY)) for one in ranked}
    expected = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
    front = [(one.mean("luts"), one.mean(ACCURACY)) for one in pareto_front(ranked, "luts")]
    assert front == sorted(expected)


def test_validation_rows_decide_the_front_where_all_have_them():
    seen = [(1, 0.7, 0.9), (2, 0.9, 0.5), (3, 0.8, 0.8)]
    outcomes = [
        replace(trial(test, luts=luts, id=str(luts)), scores={ACCURACY: test, VALIDATION: validated, "luts": luts})
        for luts, validated, test in seen
    ]
    assert [one.mean("luts") for one in pareto_front(configurations(outcomes), "luts")] == [1, 2]
    outcomes[1] = replace(outcomes[1], scores={ACCURACY: 0.5, "luts": 2})
    assert [one.mean("luts") for one in pareto_front(configurations(outcomes), "luts")] == [1]


def test_every_value_looks_different_and_the_same_each_time():
    names = [f"node{number}" for number in range(14)]
    assert len(set(looks(names).values())) == 14 and looks(names) == looks(names)
    numbers = looks(["16", "2", "4"])
    assert numbers["16"].colour == looks(["2", "4", "16"])["16"].colour
