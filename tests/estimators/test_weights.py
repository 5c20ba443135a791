import numpy as np
import pytest

from difflut.sklearn import LUTClassifier
from tests.estimators.settings import SMALL


def test_a_row_of_a_weight_is_a_row_so_many_times_in_any_order(frame):
    random = np.random.default_rng(13)
    y = np.where(frame["new"] ^ (frame["colour"] == "red"), "b", "a")
    times, order = random.integers(0, 4, 300), random.permutation(300)
    rows = np.repeat(order, times[order])
    weighted = LUTClassifier(**SMALL).fit(frame, y, times)
    repeated = LUTClassifier(**SMALL).fit(frame.iloc[rows], y[rows])
    assert np.array_equal(weighted.predict_proba(frame), repeated.predict_proba(frame))
    assert not np.array_equal(weighted.predict_proba(frame), LUTClassifier(**SMALL).fit(frame, y).predict_proba(frame))


@pytest.mark.parametrize("scale", [0.3, 10**6])
def test_weights_that_are_no_counts_weigh_rows_in_any_order(table, scale):
    random = np.random.default_rng(18)
    weights, order = random.integers(1, 4, 240) * scale, random.permutation(240)
    first, even = LUTClassifier(**SMALL).fit(*table, weights), LUTClassifier(**SMALL).fit(*table)
    other = LUTClassifier(**SMALL).fit(table[0][order], table[1][order], weights[order])
    assert np.array_equal(first.predict_proba(table[0]), other.predict_proba(table[0]))
    assert not np.array_equal(first.predict_proba(table[0]), even.predict_proba(table[0]))


def test_rows_of_weight_zero_are_as_if_they_were_not_there(frame):
    y, kept = np.where(frame["new"], "b", "a"), frame["colour"] != "green"
    unknown = np.where(kept, y, "c")
    classifier = LUTClassifier(**SMALL).fit(frame.fillna({"count": 1}), unknown, kept.astype(float))
    assert classifier.classes_.tolist() == ["a", "b"]
    assert not {"colour=green", "count is missing"} & set(classifier.columns_.features())


@pytest.mark.parametrize("explores", [False, True])
def test_weights_of_rows_move_the_border(explores):
    random = np.random.default_rng(14)
    x = random.normal(size=(500, 3))
    y = random.random(500) < 1 / (1 + np.exp(-2 * x[:, 0]))
    found = [
        LUTClassifier(**SMALL | {"explores": explores}).fit(x, y, np.where(y, weight, 1)).predict(x).mean()
        for weight in (0.05, 1, 20.5)
    ]
    assert found[0] < 0.3 < found[1] < 0.7 < found[2]


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        (np.ones(9), r"shape \(9,\) and X has 240 rows; give a number for each row"),
        (2.0, r"shape \(\) and X has 240 rows"),
        (np.r_[1, -0.5, np.ones(238)], "sample_weight of row 1 is -0.5; give a finite number, 0 or more"),
        (np.r_[np.ones(239), np.nan], "row 239 is nan"),
        (np.zeros(240), "sample_weight is zero for all rows"),
        (["heavy"] * 240, "sample_weight holds no numbers.*heavy"),
    ],
)
def test_weights_that_are_none_are_refused(table, weights, complaint):
    with pytest.raises(ValueError, match=complaint):
        LUTClassifier(**SMALL).fit(*table, sample_weight=weights)


def test_class_weights_move_the_border():
    random = np.random.default_rng(3)
    y = (random.random(600) < 0.1).astype(int)
    x = random.normal(size=(600, 3)) + y[:, None]
    found = [
        LUTClassifier(**SMALL, class_weight=weight).fit(x, y).predict(x).mean() for weight in (None, {0: 1, 1: 20})
    ]
    assert found[0] < 0.15 < 0.25 < found[1]
