import json
import pickle
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from difflut.circuits import Circuit
from difflut.estimators import default_recipe
from difflut.estimators.fitting import Fitter, Table
from difflut.models import LUTNetwork, load_checkpoint
from difflut.registry import NODES, REGISTRY
from difflut.sklearn import LUTClassifier
from difflut.training import Trainer
from difflut.training.graph import GraphedSteps
from tests.estimators.settings import SMALL


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


def test_one_class_is_refused(table):
    with pytest.raises(ValueError, match=r"needs at least 2 classes; y has 1 class, \[4\]"):
        LUTClassifier().fit(table[0], np.full(240, 4))


def test_rows_and_labels_must_be_as_many(table):
    with pytest.raises(ValueError, match="240 rows and y has 9"):
        LUTClassifier().fit(table[0], np.arange(9))


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
        ({"class_weight": {0: 1, 1: "much"}}, "class_weight of 1 is 'much'; give a finite number, 0 or more"),
        ({"random_state": -4}, "random_state=-4 must be a whole number from 0 to"),
        ({"random_state": "seven"}, "random_state='seven' must be"),
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


@pytest.mark.parametrize("labels", [[1, "a"], [None, "a"], [float("nan"), "a"], [pd.NA, 3]])
@pytest.mark.parametrize("holder", [np.array, list, pd.Series])
def test_labels_of_several_types_are_refused(table, labels, holder):
    y = holder(np.array(labels, dtype=object)[table[1]])
    with pytest.raises(ValueError, match=r"y holds labels of the types .*, .*; give labels of one type, none missing"):
        LUTClassifier(**SMALL).fit(table[0], y)


@pytest.mark.parametrize("kind", ["str", "string", "category"])
def test_missing_labels_are_refused_whatever_type_of_pandas_holds_them(table, kind):
    y = pd.Series(np.array(["no", "yes"])[table[1]], dtype=kind)
    y[::7] = None
    with pytest.raises(ValueError, match=r"y holds labels of the types .*str.*; give labels of one type, none missing"):
        LUTClassifier(**SMALL).fit(table[0], y)


def test_no_labels_are_refused(table):
    with pytest.raises(ValueError, match="y is None; give a label for each row"):
        LUTClassifier(**SMALL).fit(table[0], None)


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


@pytest.mark.needs("c++")
@pytest.mark.parametrize("explores", [False, True])
@pytest.mark.parametrize("node", NODES)
def test_recorded_steps_give_the_same_network_to_the_bit(table, monkeypatch, explores, node):
    weights = None if explores else np.random.default_rng(32).random(240) + 0.1
    passes, classify = [], LUTNetwork.classify
    monkeypatch.setattr(LUTNetwork, "classify", lambda self, x: passes.append(self.training) or classify(self, x))
    found = {}
    for graph in (True, False):
        monkeypatch.setattr(GraphedSteps, "serves", lambda *_, graph=graph: graph)
        passes.clear()
        classifier = LUTClassifier(**SMALL | {"explores": explores, "node_type": node, "n": 2}).fit(*table, weights)
        found[graph] = sum(passes), classifier.network_.state_dict(), [row["train_loss"] for row in classifier.history_]
    assert found[True][0] < found[False][0] / 3
    assert found[True][2] == found[False][2]
    torch.testing.assert_close(found[True][1], found[False][1], rtol=0, atol=0)


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


def test_an_export_to_a_file_is_refused(table, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(FileExistsError, match=r"taken' is a file; name a folder"):
        LUTClassifier(**SMALL).fit(*table).export(tmp_path / "taken")


def test_cost_is_that_of_the_simplified_circuit(table):
    cost = LUTClassifier(**SMALL).fit(*table).cost()
    assert 0 < cost.tables <= 60 and cost.total > cost.tables


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
@pytest.mark.parametrize(("classes", "factor"), [(2, 2.8), (6, 2.8), (24, 1.4)])
def test_default_recipes_are_within_bounds(rows, classes, factor):
    recipe = default_recipe(rows, 10, classes)
    assert 32 <= recipe.batch_size <= 1024 and 100 <= recipe.votes <= 900
    assert recipe.tau == pytest.approx(factor * recipe.votes**0.5) and 10 <= recipe.epochs <= 20


def test_few_rows_need_fewer_votes_and_many_rows_fewer_epochs():
    few, some, many = (default_recipe(rows, 10, 3) for rows in (150, 3000, 10**6))
    assert few.votes < some.votes == many.votes and few.epochs == some.epochs > many.epochs


def test_more_features_than_rows_need_more_trees_and_votes():
    few, half, equal, many = (default_recipe(120, features, 2) for features in (1, 60, 120, 5000))
    assert few.trees < half.trees < equal.trees == many.trees == 100
    assert few.votes < half.votes < equal.votes == many.votes == 600
    assert default_recipe(10**5, 200, 2).trees == 32


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
    assert default_recipe(4000, 10, 26).votes == 240


@pytest.mark.parametrize("explores", [False, True])
def test_networks_of_any_width_are_as_confident(table, explores):
    given = {"epochs": 1, "explores": explores}
    found = [LUTClassifier(**given, votes=votes).fit(*table).recipe_ for votes in (20, 45, None)]
    assert [recipe.tau / recipe.votes**0.5 for recipe in found] == pytest.approx([1.0 if explores else 2.8] * 3)


def test_arrays_are_predicted_in_parts_of_which_each_is_checked(table, monkeypatch):
    x, y = table
    classifier = LUTClassifier(**SMALL).fit(x, y)
    many = np.tile(x, (5, 1))
    monkeypatch.setattr("difflut.estimators.classifier.PART_BYTES", 1)
    assert np.array_equal(classifier.predict(many), np.tile(classifier.predict(x), 5))
    assert np.array_equal(classifier.predict_proba(many), np.tile(classifier.predict_proba(x), (5, 1)))
    assert np.array_equal(classifier.features(many), many.astype(np.float32))
    for row in (0, 600, 1199):
        wrong = many.copy()
        wrong[row, 3] = np.inf
        with pytest.raises(ValueError, match="X contains infinity"):
            classifier.predict(wrong)


@pytest.mark.parametrize(("gains", "fits", "explores"), [([-1, -1, 40], 4, False), ([-1, 1, 40], 6, True)])
def test_the_last_third_of_few_rows_is_not_asked_where_exploring_is_behind(monkeypatch, gains, fits, explores):
    random, tried = np.random.default_rng(31), []
    table = Table(random.normal(size=(200, 3)).astype(np.float32), random.integers(0, 2, 200), np.ones(200), 2)
    monkeypatch.setattr(
        Fitter, "fit", lambda self, table, recipe, forest: (tried.append(recipe.explores) or len(tried), [])
    )

    def right(self, number):
        return np.r_[np.ones(10 + (number % 2 == 0) * gains[(number - 1) // 2]), np.zeros(60)][:60]

    monkeypatch.setattr(Table, "right", right)
    recipe = default_recipe(200, 3, 2)
    chosen = Fitter(REGISTRY.get_node("dwn"), 6, 0).choose(table, (recipe, recipe.exploring()))
    assert tried == [False, True] * (fits // 2) and chosen.explores == explores
