import json

import numpy as np
import pandas as pd
import pytest

from difflut.estimators.columns import Columns, columns_of
from difflut.estimators.shares import PARTS, ROWS_OF_PRIOR, class_shares, cross_fitted_shares
from difflut.sklearn import LUTClassifier
from tests.estimators.settings import SMALL


@pytest.fixture
def towns():
    """Forty towns, a tenth of them missing, and a number; the town tells the class, except for one row in ten."""
    random = np.random.default_rng(21)
    town = random.integers(0, 40, 800)
    y = np.array(["low", "high", "none"])[(town * 7 % 3 + (random.random(800) < 0.1)) % 3]
    frame = pd.DataFrame({"town": [f"t{number}" for number in town], "size": random.normal(size=800)})
    frame.loc[::10, "town"] = None
    return frame, y


def test_shares_are_those_of_each_category_beside_all_rows():
    random = np.random.default_rng(22)
    codes, y, weights = random.integers(-1, 5, 90), random.integers(0, 3, 90), random.uniform(0.5, 2, 90)
    found = class_shares(codes, y, weights, 6, 3)
    prior = np.array([weights[y == label].sum() for label in range(3)]) / weights.sum()
    for row, code in [*((code, code) for code in range(6)), (6, 99), (7, -1)]:
        own = np.array([weights[(codes == code) & (y == label)].sum() for label in range(3)])
        expected = (own + ROWS_OF_PRIOR * prior) / (own.sum() + ROWS_OF_PRIOR)
        assert np.allclose(found[row], expected, rtol=1e-12)
    two = class_shares(codes, y.clip(max=1), weights, 6, 2)
    assert two.shape == (8, 1) and np.allclose(two[:, 0], found[:, 1:].sum(1))


def test_a_row_does_not_see_its_own_part():
    random = np.random.default_rng(23)
    codes, y, weights = random.integers(-1, 5, 90), random.integers(0, 3, 90), random.uniform(0.5, 2, 90)
    part = random.integers(0, PARTS, 90)
    found = cross_fitted_shares(codes, y, weights, 5, 3, part)
    for row in range(90):
        others = part != part[row]
        expected = class_shares(codes[others], y[others], weights[others], 5, 3)[codes[row]]
        assert np.array_equal(found[row], expected)


def test_a_column_of_many_categories_is_learned_from_by_its_shares(towns):
    frame, y = towns
    classifier = LUTClassifier(**SMALL | {"explores": False}).fit(frame[:600], y[:600])
    labels = ["high", "low", "none"]
    expected = [*(f"town: share of {label}" for label in labels), "town is missing", "size"]
    assert classifier.columns_.features() == expected
    known = frame["town"].notna().to_numpy()[600:]
    assert classifier.score(frame[600:][known], y[600:][known]) > 0.8
    table = pd.crosstab(frame["town"][:600].fillna("gone"), y[:600])
    sizes, prior = table.sum(axis=1), pd.Series(y[:600]).value_counts(normalize=True)[labels].to_numpy()
    shares = table.add(prior).div(sizes + 1, axis=0)
    found = classifier.features(frame[600:].assign(town=frame["town"][600:].fillna("gone")))
    seen = frame["town"][600:].dropna()
    assert np.allclose(found[known, :3], shares.loc[seen], rtol=1e-6)
    assert np.allclose(found[~known, :3], prior) and not found[:, 3].any()
    missing = classifier.features(frame[600:])[~known]
    assert np.allclose(missing[:, :3], shares.loc["gone"]) and missing[:, 3].all()


def test_names_that_tell_nothing_are_worth_nothing_in_training():
    random = np.random.default_rng(24)
    y = random.integers(0, 2, 300)
    frame = pd.DataFrame({"name": [f"n{number}" for number in range(300)]})
    features = Columns().fit_transform(columns_of(frame), ["name"], y, np.ones(300), [0, 1], seed=0)
    assert len(np.unique(features)) <= PARTS and abs(features - 0.5).max() < 0.1


def test_as_many_categories_as_classes_are_bits_and_so_are_sixteen():
    random = np.random.default_rng(25)
    for categories, classes, bits in [(16, 2, 16), (17, 2, 1), (20, 20, 20), (21, 20, 20)]:
        frame = pd.DataFrame({"kind": [f"k{number % categories}" for number in range(420)]})
        columns = Columns()
        y = random.integers(0, classes, 420)
        columns.fit_transform(columns_of(frame), ["kind"], y, np.ones(420), list(range(classes)), seed=0)
        assert len(columns.features()) == bits
        assert columns.features()[0].startswith("kind=") == (categories <= max(16, classes))


@pytest.mark.parametrize("scale", [1, 0.3])
def test_the_order_of_rows_does_not_matter_and_whole_weights_are_rows(towns, scale):
    frame, y = towns
    random = np.random.default_rng(26)
    times, order = random.integers(0, 4, 800), random.permutation(800)
    first = LUTClassifier(**SMALL).fit(frame, y, times * scale)
    if scale == 1:
        rows = np.repeat(order, times[order])
        other = LUTClassifier(**SMALL).fit(frame.iloc[rows], y[rows])
    else:
        other = LUTClassifier(**SMALL).fit(frame.iloc[order], y[order], times[order] * scale)
    assert np.array_equal(first.predict_proba(frame), other.predict_proba(frame))


def test_an_export_tells_what_categories_become(towns, tmp_path):
    frame, y = towns
    classifier = LUTClassifier(**SMALL | {"epochs": 1, "explores": False}).fit(frame, y)
    classifier.export(tmp_path)
    told = json.loads((tmp_path / "columns.json").read_text())
    town = told["shares"]["town"]
    numbers = dict(zip(town["categories"], town["shares"], strict=True)) | {
        None: town["missing"],
        "new": town["unseen"],
    }
    asked = frame.assign(town=frame["town"].mask(frame["size"] > 1.5, "new"))
    expected = np.array([numbers[None if pd.isna(value) else value] for value in asked["town"]], np.float32)
    assert list(told["shares"]) == ["town"] and np.array_equal(classifier.features(asked)[:, :3], expected)


@pytest.mark.parametrize("as_array", [False, True])
def test_numbers_of_persons_are_categories_too_and_measures_are_not(as_array):
    random = np.random.default_rng(27)
    person, age = random.integers(0, 60, 900), random.integers(0, 60, 900)
    y = (random.random(60) < 0.5)[person] ^ (random.random(900) < 0.05) | (age > 55)
    frame = pd.DataFrame({"person": person * 1000.0, "age": age, "size": random.normal(size=900)})
    frame.loc[::30, "person"] = np.nan
    x = frame.to_numpy() if as_array else frame
    classifier = LUTClassifier(**SMALL | {"explores": False}).fit(x[:600], y[:600])
    person, age, size = ("x0", "x1", "x2") if as_array else ("person", "age", "size")
    expected = [person, f"{person} is missing", age, size, f"{person}: share of True"]
    assert classifier.columns_.features() == expected
    assert classifier.score(x[600:], y[600:]) > 0.8
    found, seen = classifier.features(x), frame["person"][:600]
    for value in (0, 7000, 59000):
        share = (y[:600][seen == value].sum() + y[:600].mean()) / ((seen == value).sum() + 1)
        assert found[frame["person"] == value, 4] == pytest.approx(share)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (lambda random: random.integers(0, 60, 900), True),
        (lambda random: random.integers(0, 60, 900) + 0.5, False),  # not whole
        (lambda random: random.integers(0, 32, 900), False),  # thresholds tell them apart
        (lambda random: np.arange(900) % 800, False),  # hardly one comes again
    ],
)
def test_which_numbers_may_be_categories(values, told):
    random = np.random.default_rng(28)
    x = values(random).astype(float)
    y = (random.random(900) < 0.5)[x.astype(int)].astype(int)
    columns = Columns()
    columns.fit_transform(x[:, None], ["x"], y, np.ones(900), [0, 1], seed=0)
    assert (columns.naming == [0]) == told and len(columns.features()) == 1 + told


def test_numbers_without_a_class_are_no_categories():
    random = np.random.default_rng(29)
    x = random.integers(0, 60, (900, 20)).astype(float)
    y = (x[:, 0] + random.normal(size=900) > 30).astype(int)
    columns = Columns()
    features = columns.fit_transform(x, [f"x{number}" for number in range(20)], y, np.ones(900), [0, 1], seed=0)
    assert columns.naming == [] and np.array_equal(features, x)


def test_numbers_that_name_do_not_depend_on_the_order_of_rows():
    random = np.random.default_rng(30)
    person, order = random.integers(0, 60, 600), random.permutation(600)
    frame = pd.DataFrame({"person": person, "town": [f"t{number}" for number in random.integers(0, 25, 600)]})
    y = (random.random(60) < 0.5)[person]
    first = LUTClassifier(**SMALL | {"explores": False}).fit(frame, y)
    other = LUTClassifier(**SMALL | {"explores": False}).fit(frame.iloc[order], y[order])
    assert first.columns_.naming == [0] and np.array_equal(first.predict_proba(frame), other.predict_proba(frame))
