import warnings
from datetime import date, time, timedelta

import numpy as np
import pandas as pd
import polars
import pytest

from difflut.estimators.fitting import distinct_bits
from difflut.sklearn import LUTClassifier
from tests.estimators.settings import SMALL


@pytest.mark.parametrize(
    ("column", "signal"),
    [("colour", ["red"]), ("shape", ["round"]), ("new", [True]), ("count", [3, 4])],
)
def test_every_kind_of_column_is_learned_from(frame, column, signal):
    y = frame[column].isin(signal).to_numpy()
    assert LUTClassifier(**SMALL).fit(frame, y).score(frame, y) > 0.95


@pytest.mark.parametrize("column", ["size", "colour", "count"])
def test_that_a_value_is_missing_is_learned_from(frame, column):
    y = frame[column].isna().to_numpy()
    classifier = LUTClassifier(**SMALL, class_weight="balanced").fit(frame, y)
    assert classifier.score(frame, y) > 0.95
    assert f"{column} is missing" in classifier.columns_.features()


def test_missing_numbers_of_an_array_are_learned_from(table):
    x = table[0].copy()
    x[::3, 2] = np.nan
    y = np.isnan(x[:, 2])
    assert LUTClassifier(**SMALL).fit(x, y).score(x, y) > 0.95


def test_what_was_not_seen_in_fit_is_predicted_all_the_same(frame):
    y = (frame["colour"] == "red").to_numpy()
    classifier = LUTClassifier(**SMALL).fit(frame, y)
    unseen = frame.assign(colour="violet", new=np.nan)
    assert classifier.predict(unseen).shape == (300,)


def test_categories_in_another_order_and_of_another_type_are_the_same(frame):
    y = frame["shape"].eq("round") ^ frame["count"].eq(2).fillna(False).astype(bool)
    frame["count"] = frame["count"].astype("category")
    classifier = LUTClassifier(**SMALL).fit(frame, y)
    other = frame.assign(
        shape=pd.Categorical(frame["shape"].astype(str), ["square", "oval", "round"]),
        colour=frame["colour"].astype("category"),
        count=frame["count"].astype(float),
    )
    assert classifier.score(frame, y) > 0.95
    assert np.array_equal(classifier.features(frame), classifier.features(other), equal_nan=True)


def test_features_are_those_of_each_row_whatever_the_number_of_rows(frame):
    classifier = LUTClassifier(**SMALL).fit(frame, frame["new"])
    found = classifier.features(frame)
    assert np.array_equal(np.tile(found, (20, 1)), classifier.features(pd.concat([frame] * 20)), equal_nan=True)
    expected = [(frame["colour"] == colour).to_numpy() for colour in classifier.columns_.categories[1]]
    assert len(expected) == 3 and np.array_equal(found[:, 2:5], np.stack(expected, axis=1))
    assert np.array_equal(found[:, 0], frame["size"].astype("float32"), equal_nan=True)


def test_numbers_in_a_column_of_objects_are_numbers(frame):
    numbers = frame[["size", "new"]].astype(object).assign(text="a")
    classifier = LUTClassifier(**SMALL).fit(numbers, frame["new"])
    assert classifier.columns_.features() == ["size", "size is missing", "new", "text=a"]


def test_doubles_floats_and_frames_of_numbers_are_classed_alike(table):
    x = table[0]
    classifier = LUTClassifier(**SMALL).fit(*table)
    found = classifier.predict_proba(x)
    for same in (x.astype(np.float32), np.asfortranarray(x), pd.DataFrame(x), pd.DataFrame(x).astype({1: object})):
        assert np.array_equal(classifier.predict_proba(same), found)


def test_a_column_of_numbers_stays_one(frame):
    classifier = LUTClassifier(**SMALL).fit(frame, frame["new"])
    with pytest.raises(ValueError, match="column 'size' held numbers in fit and now 'large'; give numbers"):
        classifier.predict(frame.assign(size="large"))


@pytest.mark.parametrize("values", [[pd.Period("2020")], [date(2020, 1, 2)], [time(3)], [timedelta(4)]])
def test_times_among_objects_are_refused(frame, values):
    with pytest.raises(TypeError, match=f"column 'when' holds {type(values[0]).__name__}; give numbers in its place"):
        LUTClassifier(**SMALL).fit(frame.assign(when=pd.Series(values * 300, dtype=object)), frame["new"])


@pytest.mark.parametrize(
    ("value", "complaint"), [(np.inf, "column 'size' holds infinity"), (1e39, "'size'.*too large")]
)
def test_numbers_without_a_float_are_refused(frame, value, complaint):
    with pytest.raises(ValueError, match=complaint):
        LUTClassifier(**SMALL).fit(frame.assign(size=value), frame["new"])


def test_values_that_are_no_categories_are_refused(frame):
    with pytest.raises(TypeError, match=r"column 'tags' holds no categories.*list"):
        LUTClassifier(**SMALL).fit(frame.assign(tags=[["a"]] * 300), frame["new"])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.date_range("2020-01-01", periods=300), "datetime64"),
        (pd.date_range("2020-01-01", periods=300, tz="UTC"), "datetime64"),
        (pd.period_range("2020-01", periods=300, freq="M"), "period"),
        (pd.timedelta_range("1h", periods=300), "timedelta64"),
    ],
)
def test_a_column_of_times_is_refused_and_told_what_to_give(frame, values, kind):
    with pytest.raises(TypeError, match=rf"column 'when' is of type {kind}.*; give numbers in its place.*dt\.month"):
        LUTClassifier(**SMALL).fit(frame.assign(when=values), np.arange(300) % 2)
    parts = frame.assign(month=pd.date_range("2020-01-01", periods=300).month)
    assert LUTClassifier(**SMALL).fit(parts, np.arange(300) % 2).n_features_in_ == parts.shape[1]


@pytest.mark.parametrize("kind", [str, object])
def test_text_in_an_array_is_refused(table, kind):
    text = np.c_[table[0].astype(kind), np.full(240, "red")]
    with pytest.raises(ValueError, match="X holds text; give a data frame"):
        LUTClassifier(**SMALL).fit(text, table[1])
    with pytest.raises(ValueError, match="X holds text; give a data frame"):
        LUTClassifier(**SMALL).fit(*table).predict(text)


POLARS = {
    "String": [None, "red", "blue"],
    "Categorical": [None, "red", "blue"],
    "Int64": [None, 3, -7],
    "Float64": [None, 0.25, -1.5],
    "Boolean": [None, True, False],
    "Null": [None, None, None],
}


@pytest.mark.parametrize("kind", POLARS)
def test_a_frame_of_polars_is_as_one_of_pandas(frame, kind):
    values = [POLARS[kind][code] for code in np.random.default_rng(33).integers(0, 3, 300)]
    size = np.where(np.isnan(frame["size"]), 0.5, frame["size"]).tolist()
    ours = polars.DataFrame({"size": size, "what": polars.Series(values, dtype=getattr(polars, kind))})
    other = pd.DataFrame({"size": size, "what": pd.Series(values, dtype=object)})
    y = (np.array([value in (POLARS[kind][1], None) for value in values]) ^ (np.array(size) > 1)).astype(int)
    found = [LUTClassifier(**SMALL).fit(x, y) for x in (ours, other)]
    assert found[0].feature_names_in_.tolist() == ["size", "what"]
    assert found[0].columns_.features() == found[1].columns_.features()
    assert np.array_equal(found[0].predict_proba(ours), found[1].predict_proba(other))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([date(2020, 1, 2), date(2021, 3, 4)], r"column 'when' is of type Date; give numbers in its place"),
        ([[1], [2]], r"column 'when' is of type List\(Int64\); give numbers, strings or categories"),
    ],
)
def test_columns_of_polars_that_are_neither_are_refused(values, complaint):
    with pytest.raises(TypeError, match=complaint):
        LUTClassifier(**SMALL).fit(polars.DataFrame({"when": values}), [0, 1])


def test_a_frame_without_rows_is_refused(frame):
    classifier = LUTClassifier(**SMALL).fit(frame, frame["new"])
    with pytest.raises(ValueError, match="X has no rows; give at least one"):
        classifier.fit(frame[:0], [])
    with pytest.raises(ValueError, match="X has no rows"):
        classifier.predict(frame[:0])


def test_a_frame_without_columns_is_refused():
    with pytest.raises(ValueError, match="X has no columns"):
        LUTClassifier(**SMALL).fit(pd.DataFrame(index=range(4)), [0, 1, 0, 1])


def test_a_column_without_two_values_is_read_by_no_table():
    random = np.random.default_rng(5)
    x = np.c_[np.full(100, 3.0), random.integers(0, 2, 100), random.normal(size=100)]
    classifier = LUTClassifier(**SMALL).fit(x, x[:, 1] > 0)
    bits = distinct_bits(classifier.network_.encoder)
    assert set(classifier.network_.layers[0].wiring().flatten().tolist()) <= set(bits.tolist())
    assert sum(bits < 12) == 1 and sum((bits >= 12) & (bits < 24)) == 1 and 6 <= sum(bits >= 24) <= 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert classifier.score(x, x[:, 1] > 0) == 1


def test_columns_of_categories_need_one_threshold_and_numbers_as_many_as_tell_their_values_apart(frame):
    y = frame["new"] ^ (frame["colour"] == "red")
    two = LUTClassifier(**SMALL).fit(frame[["colour", "shape", "new"]], y)
    assert two.network_.encoder.num_bits == 1 and two.score(frame[["colour", "shape", "new"]], y) == 1
    count = frame[["count", "new"]].fillna(0).astype(float)
    assert 4 <= LUTClassifier(**SMALL).fit(count, y).network_.encoder.num_bits < 12
    assert LUTClassifier(**SMALL).fit(frame, y).network_.encoder.num_bits == 12
