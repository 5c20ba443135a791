import json
import pickle
import warnings
from dataclasses import replace
from datetime import date, time, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from difflut.circuits import Circuit
from difflut.estimators import default_recipe
from difflut.estimators.fitting import Fitter, Table, distinct_bits
from difflut.models import load_checkpoint
from difflut.sklearn import LUTClassifier
from difflut.training import Trainer

SMALL = {"votes": 30, "candidates": 16, "num_bits": 12, "epochs": 10, "tau": 7.0, "explores": True, "random_state": 0}


@pytest.fixture
def table():
    return make_classification(240, 6, n_informative=4, n_redundant=0, class_sep=2.0, random_state=1)


@pytest.fixture
def frame():
    random = np.random.default_rng(2)
    size = random.normal(size=300)
    frame = pd.DataFrame(
        {
            "size": np.where(random.random(300) < 0.2, np.nan, size),
            "colour": random.choice(["red", "green", "blue"], 300),
            "shape": pd.Categorical(random.choice(["round", "square"], 300)),
            "count": pd.array(random.integers(0, 5, 300), dtype="Int64"),
            "new": random.random(300) < 0.5,
        }
    )
    frame.loc[::11, "colour"] = None
    frame.loc[::7, "count"] = pd.NA
    return frame


def test_what_is_learned_is_classed_by_the_circuit_bit_for_bit(table):
    x, y = table
    classifier = LUTClassifier(**SMALL).fit(x[:160], y[:160])
    features = classifier.features(x)
    with torch.no_grad():
        logits = classifier.network_(torch.from_numpy(features)).numpy()
    assert np.array_equal(classifier.circuit_(features), logits)
    assert np.array_equal(classifier.predict(x), logits.argmax(1))
    np.testing.assert_allclose(np.log(classifier.predict_proba(x)), torch.from_numpy(logits).log_softmax(1), atol=1e-5)
    assert classifier.score(x[160:], y[160:]) > 0.85


@pytest.mark.parametrize("labels", [[-3.0, 8.0], ["no", "yes"], [False, True], [10**12, 7]])
def test_labels_may_be_of_any_type(table, labels):
    x, y = table
    named = np.array(labels)[y]
    classifier = LUTClassifier(**SMALL).fit(x, named)
    assert classifier.classes_.tolist() == sorted(labels)
    assert classifier.predict(x).dtype == named.dtype and classifier.score(x, named) > 0.9


def test_the_same_random_state_gives_the_same_circuit_whatever_torch_drew(table):
    first = LUTClassifier(**SMALL).fit(*table)
    torch.rand(17)
    again, other = LUTClassifier(**SMALL).fit(*table), LUTClassifier(**{**SMALL, "random_state": 1}).fit(*table)
    assert np.array_equal(first.predict_proba(table[0]), again.predict_proba(table[0]))
    assert not np.array_equal(first.predict_proba(table[0]), other.predict_proba(table[0]))


def test_fitting_leaves_the_global_generator_alone(table):
    before = torch.get_rng_state()
    LUTClassifier(**SMALL).fit(*table)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_works_in_a_pipeline_and_in_searches(table):
    pipeline = make_pipeline(StandardScaler(), LUTClassifier(**SMALL))
    assert cross_val_score(pipeline, *table, cv=2).mean() > 0.8
    search = GridSearchCV(LUTClassifier(**SMALL), {"n": [2, 4]}, cv=2).fit(*table)
    assert search.best_params_["n"] in (2, 4) and search.best_score_ > 0.8


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


def test_a_column_of_text_has_a_bit_for_each_of_its_most_frequent_categories():
    names = [f"v{number:03}" for number in range(300)]
    frame = pd.DataFrame({"text": names + names[:256]})
    classifier = LUTClassifier(**SMALL | {"epochs": 1, "explores": False}).fit(frame, np.arange(556) % 2)
    assert classifier.columns_.features() == [f"text={name}" for name in names[:256]]


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
    with pytest.raises(TypeError, match=f"column 'when' holds {type(values[0]).__name__}; give numbers, strings or"):
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


def test_a_column_of_dates_is_refused(frame):
    dated = frame.assign(when=pd.Timestamp("2020-01-01"))
    with pytest.raises(TypeError, match=r"column 'when' is of type datetime64.*give numbers, strings or categories"):
        LUTClassifier(**SMALL).fit(dated, np.arange(300) % 2)


def test_one_class_is_refused(table):
    with pytest.raises(ValueError, match=r"needs at least 2 classes; y has 1 class, \[4\]"):
        LUTClassifier().fit(table[0], np.full(240, 4))


def test_rows_and_labels_must_be_as_many(table):
    with pytest.raises(ValueError, match="240 rows and y has 9"):
        LUTClassifier().fit(table[0], np.arange(9))


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


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ({"epochs": 0}, "LUTClassifier: epochs=0 must be at least 1"),
        ({"epochs": 2.5}, "LUTClassifier: epochs=2.5 must be a whole number or None"),
        ({"votes": -3}, "votes=-3 must be at least 1"),
        ({"n": 0}, "n=0 must be at least 1"),
        ({"num_bits": 0}, "num_bits=0 must be at least 1"),
        ({"candidates": 0}, "candidates=0 must be at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be above 0"),
        ({"tau": -1.0}, "tau=-1.0 must be above 0"),
        ({"tau": float("inf")}, "tau=inf must be a finite number or None"),
        ({"explores": "yes"}, "explores='yes' must be True or False or None"),
        ({"early_stopping": "no"}, "early_stopping='no' must be True or False or 'auto'"),
        ({"node_type": "dw"}, "no node is called 'dw'; did you mean 'dwn'"),
        ({"class_weight": "even"}, "class_weight='even' must be 'balanced' or a mapping"),
        ({"class_weight": {0: 1, 1: -2}}, "class_weight of 1 is -2; give a finite number, 0 or more"),
        ({"class_weight": {0: 0, 1: 0}}, "is 0 for all classes"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_any_work(table, monkeypatch, argument, complaint):
    monkeypatch.setattr(Fitter, "fit", None)
    with pytest.raises(ValueError, match=complaint):
        LUTClassifier(**SMALL | argument).fit(*table)


def test_numbers_of_numpy_are_arguments_as_python_s_are(table):
    numbers = {"epochs": np.int64(3), "tau": np.float32(7), "n": np.int32(4), "explores": np.bool_(True)}
    assert LUTClassifier(**SMALL | numbers).fit(*table).n_iter_ == 3


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (pd.Series([True, False] * 120, dtype="boolean"), "b"),
        (pd.Series([4, 9] * 120, dtype="Int64"), "i"),
        (pd.Series(["yes", "no"] * 120, dtype="category"), "U"),
        (np.array([True, False] * 120, dtype=object), "b"),
        (np.array(["ä", "日本"] * 120, dtype=object), "O"),
    ],
)
def test_labels_keep_their_type_whatever_holds_them(labels, kind):
    x = np.arange(240)[:, None] % 2 + np.random.default_rng(15).normal(size=(240, 2)) / 9
    classifier = LUTClassifier(**SMALL).fit(x, labels)
    assert classifier.predict(x).dtype.kind == kind and classifier.predict(x).tolist() == labels.tolist()


@pytest.mark.parametrize("labels", [[1, "a"], [None, "a"], [pd.NA, 3]])
def test_labels_of_several_types_are_refused(table, labels):
    with pytest.raises(ValueError, match=r"y holds labels of the types .*, .*; give labels of one type, none missing"):
        LUTClassifier(**SMALL).fit(table[0], np.array(labels, dtype=object)[table[1]])


@pytest.mark.parametrize("kind", [str, object])
def test_text_in_an_array_is_refused(table, kind):
    text = np.c_[table[0].astype(kind), np.full(240, "red")]
    with pytest.raises(ValueError, match="X holds text; give a data frame"):
        LUTClassifier(**SMALL).fit(text, table[1])
    with pytest.raises(ValueError, match="X holds text; give a data frame"):
        LUTClassifier(**SMALL).fit(*table).predict(text)


def test_a_frame_without_columns_is_refused():
    with pytest.raises(ValueError, match="X has no columns"):
        LUTClassifier(**SMALL).fit(pd.DataFrame(index=range(4)), [0, 1, 0, 1])


@pytest.mark.parametrize("x", [np.ones((150, 2)), np.full((150, 2), np.nan)])
@pytest.mark.parametrize("rate", [1e-9, 0.02])
def test_where_nothing_tells_rows_apart_all_are_of_the_most_frequent_class(x, rate):
    y = np.random.default_rng(16).permutation(np.repeat([0, 1, 2, 3], [30, 30, 60, 30]))
    classifier = LUTClassifier(random_state=0, epochs=5, explores=False, learning_rate=rate).fit(x, y)
    assert classifier.predict(x).tolist() == [2] * 150
    np.testing.assert_allclose(classifier.predict_proba(x[:1])[0], [0.2, 0.2, 0.4, 0.2], atol=0.12)


def test_many_classes_give_one_warning():
    x = np.random.default_rng(17).normal(size=(90, 2))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        LUTClassifier(**SMALL | {"epochs": 1, "explores": False}).fit(x, np.arange(90) * 2 // 3)
    assert len(found) == 1 and "number of unique classes" in str(found[0].message)


def test_class_weights_move_the_border():
    random = np.random.default_rng(3)
    y = (random.random(600) < 0.1).astype(int)
    x = random.normal(size=(600, 3)) + y[:, None]
    found = [
        LUTClassifier(**SMALL, class_weight=weight).fit(x, y).predict(x).mean() for weight in (None, {0: 1, 1: 20})
    ]
    assert found[0] < 0.15 < 0.25 < found[1]


def test_of_equal_epochs_the_later_is_kept(table, monkeypatch):
    found = {}
    for name, scores in {"equal": [1] * 10, "rising": range(10), "falling": range(10, 0, -1)}.items():
        rest = iter(scores)
        monkeypatch.setattr(Table, "score", lambda *_, rest=rest: next(rest))
        found[name] = LUTClassifier(**SMALL, early_stopping=True).fit(*table)
    assert found["equal"].recipe_.validation_rows == 24
    assert [epoch["validation_accuracy"] for epoch in found["rising"].history_] == list(range(10))
    equal, rising, falling = (each.predict_proba(table[0]) for each in found.values())
    assert np.array_equal(equal, rising) and not np.array_equal(equal, falling)


def test_tables_explore_a_clean_function_and_keep_to_the_forest_in_noise():
    random = np.random.default_rng(4)
    x = random.random((700, 4))
    clean = (x[:, 0] > 0.5) ^ (x[:, 1] > 0.5) ^ (x[:, 2] > 0.5)
    noisy = random.random(700) < 0.35 + 0.3 * (x[:, 0] > 0.5)
    exploring, keeping = (LUTClassifier(votes=60, random_state=0, epochs=12).fit(x, y).recipe_ for y in (clean, noisy))
    assert exploring.explores and not keeping.explores
    assert exploring.tau < keeping.tau and exploring.learning_rate > keeping.learning_rate


def test_what_the_user_chooses_is_compared_and_taken(table):
    recipes = [LUTClassifier(**SMALL | {"explores": explores}).fit(*table).recipe_ for explores in (None, False, True)]
    assert [recipe.tau for recipe in recipes] == [7.0] * 3
    assert [recipe.explores for recipe in recipes[1:]] == [False, True]


@pytest.mark.parametrize(("explores", "expected"), [(True, [True] * 3 + [False] * 3), (False, [False] * 6)])
def test_tables_that_explore_choose_their_inputs_in_the_first_half_of_the_epochs(
    table, monkeypatch, explores, expected
):
    wirings = []
    run_epoch = Trainer.run_epoch

    def noted(trainer, *arguments):
        metrics = run_epoch(trainer, *arguments)
        wirings.append(trainer.model.layers[0].wiring().clone())
        return metrics

    monkeypatch.setattr(Trainer, "run_epoch", noted)
    network = LUTClassifier(**SMALL | {"epochs": 7, "explores": explores}).fit(*table).network_
    assert [not torch.equal(before, after) for before, after in pairwise(wirings)] == expected
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_pickled_classifier_predicts_the_same(table):
    classifier = LUTClassifier(**SMALL).fit(*table)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(table[0]), classifier.predict_proba(table[0]))
    assert pickle.loads(pickle.dumps(LUTClassifier(n=3))).n == 3


def test_an_export_holds_the_same_function(frame, tmp_path):
    y = np.where(frame["new"], "b", "a")
    classifier = LUTClassifier(**SMALL).fit(frame, y)
    folder = classifier.export(tmp_path / "deep" / "folder")
    features = classifier.features(frame)
    assert np.array_equal(Circuit.load(folder / "circuit.npz")(features), classifier.circuit_(features))
    with torch.no_grad():
        logits = load_checkpoint(folder / "network.pt")(torch.from_numpy(features))
    assert np.array_equal(logits.numpy(), classifier.circuit_(features))
    described = json.loads((folder / "columns.json").read_text())
    assert described["classes"] == ["a", "b"] and len(described["features"]) == features.shape[1]
    assert (
        described["features"][:3] == ["size", "size is missing", "colour=red"] or "colour=" in described["features"][2]
    )
    assert len(json.loads((folder / "circuit.json").read_text())["thresholds"]) == features.shape[1]
    assert (folder / "circuit.c").exists() and list((folder / "verilog").glob("*.v"))


def test_cost_is_that_of_the_simplified_circuit(table):
    cost = LUTClassifier(**SMALL).fit(*table).cost()
    assert 0 < cost.tables <= 60 and cost.total > cost.tables


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


def test_training_ends_after_half_of_the_epochs_where_every_row_is_classed_surely(table):
    x = np.random.default_rng(11).integers(0, 2, (400, 5))
    classifier = LUTClassifier(**SMALL | {"epochs": 7, "tau": 3.0}).fit(x, x[:, 1] ^ x[:, 3])
    assert classifier.n_iter_ == len(classifier.history_) == 4 and classifier.score(x, x[:, 1] ^ x[:, 3]) == 1
    slow = LUTClassifier(**SMALL | {"epochs": 7, "tau": 4.0}).fit(x, x[:, 1] ^ x[:, 3])
    assert slow.history_[-1]["train_loss"] < 0.002 < slow.history_[3]["train_loss"] and 4 < slow.n_iter_ < 7
    assert LUTClassifier(**SMALL).fit(*table).n_iter_ == 10


@pytest.mark.parametrize(("signal", "fits"), [(50, 2), (0.1, 3)])
def test_exploring_is_tried_only_where_the_forest_errs(monkeypatch, signal, fits):
    random, found = np.random.default_rng(12), []
    y = random.integers(0, 2, 400)
    x = random.normal(size=(400, 3)) + signal * y[:, None]
    fit = Fitter.fit
    monkeypatch.setattr(Fitter, "fit", lambda self, *arguments: found.append(arguments[1]) or fit(self, *arguments))
    LUTClassifier(votes=30, epochs=3, random_state=0).fit(x, y)
    assert len(found) == fits and [recipe.explores for recipe in found[:2]] == [False, fits == 3]


@pytest.mark.parametrize("rows", [4, 100, 3000, 10**7])
@pytest.mark.parametrize("classes", [2, 30])
def test_default_recipes_are_within_bounds(rows, classes):
    recipe = default_recipe(rows, 10, classes)
    assert 32 <= recipe.batch_size <= 1024 and 100 <= recipe.votes <= 900
    assert recipe.tau == pytest.approx(2.8 * recipe.votes**0.5) and 10 <= recipe.epochs <= 20


def test_few_rows_need_fewer_votes_and_many_rows_fewer_epochs():
    few, some, many = (default_recipe(rows, 10, 3) for rows in (150, 3000, 10**6))
    assert few.votes < some.votes == many.votes and few.epochs == some.epochs > many.epochs


def test_a_shortened_recipe_is_as_confident():
    recipe = default_recipe(3000, 10, 3)
    short = recipe.shortened(2000)
    assert short.votes == 300 and short.tau / short.votes**0.5 == pytest.approx(recipe.tau / recipe.votes**0.5)


def test_a_comparison_of_few_rows_has_more_epochs_and_never_more_than_the_training():
    lengths = [default_recipe(rows, 10, 3).shortened(2 * rows // 3).epochs for rows in (40, 300, 900, 4000)]
    assert lengths == [12, 10, 12, 6]
    assert replace(default_recipe(40, 10, 3), epochs=4).shortened(26).epochs == 4


def test_many_rows_have_more_steps_in_an_epoch_and_many_classes_enough_votes():
    steps = [rows / default_recipe(rows, 10, 2).batch_size for rows in (1000, 4000, 16000)]
    assert steps == pytest.approx([8, 16, 16], rel=0.05)
    assert default_recipe(4000, 10, 26).votes == 160
