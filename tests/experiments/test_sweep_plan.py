import pytest
import torch

import experiments  # noqa: F401
from difflut import config
from difflut.config import ConfigurationError
from difflut.registry import ENCODERS, NODES
from experiments.data import kept_rows
from experiments.sweep.checking import Checker, trial_config
from experiments.sweep.objectives import check_objectives
from experiments.sweep.plan import Plan
from experiments.sweep.space import read_dimensions

BASE = """
run.job = @ablate
NODE = @nodes.dwn
N = 4
train.network = @network
train.optimizer = @optimizers.adam
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@hidden/layers.random, @output/layers.random]
layers.random.node_type = %NODE
layers.random.n = %N
hidden/layers.random.output_size = 30
output/layers.random.output_size = 20
tracking.mode = "disabled"
"""


def plan(dimensions, *conditions):
    return Plan(read_dimensions(dimensions), conditions)


def values(points):
    return [tuple(point.values.values()) for point in points]


def bindings(dimensions, *conditions):
    return [dict(point.bindings) for point in plan(dimensions, *conditions).grid(None, 0)]


def test_a_search_by_validation_rows_needs_some():
    none = BASE + "dataset.validation_fraction = 0.0\n"
    point = plan({"train.seed": [0]}).grid(None, 0)[0]
    with pytest.raises(ConfigurationError, match="'gap' is of validation rows, of which there are none; raise dataset"):
        Checker(none, ["train_loss", "gap"]).size(point)
    for text, objectives in ((none, []), (none, ["train_loss", "luts"]), (BASE, ["gap"])):
        assert Checker(text, objectives).size(point).keys() == {"tables", "parameters", "epochs"}


def test_a_search_by_luts_needs_their_number():
    none = BASE + "train.count_luts = False\n"
    point = plan({"train.seed": [0]}).grid(None, 0)[0]
    with pytest.raises(ConfigurationError, match="'luts_tables' needs the number of LUTs: leave out"):
        Checker(none, ["tables", "luts_tables"]).size(point)
    for text, objectives in ((none, ["tables"]), (BASE, ["luts_tables"])):
        assert Checker(text, objectives).size(point)["tables"] > 0


@pytest.mark.parametrize(
    "scheduler,search,known",
    [("none", "grid", 0), ("none", "random", 0), ("asha", "random", 1), ("asha", "optuna", 2), ("none", "optuna", 2)],
)
def test_a_sweep_goes_by_its_objectives_where_it_searches_or_stops(scheduler, search, known):
    assert check_objectives({"gap": "min", "luts": "min"}, scheduler, search) == ["gap", "luts"][:known]


def test_a_grid_has_every_combination_and_runs_through_all_before_the_next_seed():
    points = plan({"N": [2, 3], "train.seed": [0, 1], "WIDTH": [10, 20]}).grid(None, 0)
    assert [(p.values["train.seed"], p.values["N"], p.values["WIDTH"]) for p in points] == [
        ("0", "2", "10"), ("0", "2", "20"), ("0", "3", "10"), ("0", "3", "20"),
        ("1", "2", "10"), ("1", "2", "20"), ("1", "3", "10"), ("1", "3", "20"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text", "label"),
    [
        ("@nodes.dwn", "@nodes.dwn", "dwn"),
        ("@encoders.gray()", "@encoders.gray()", "gray"),
        ("%N", "%N", "%N"),
        ("layerwise", "'layerwise'", "layerwise"),
        (0.05, "0.05", "0.05"),
        (None, "None", "None"),
        (["@a/layers.random", "@layers.learnable"], "[@a/layers.random, @layers.learnable]", None),
        ({"l1": ("@regularizers.l1", 0.1)}, "{'l1': (@regularizers.l1, 0.1, )}", None),
        ((3,), "(3, )", "(3, )"),
    ],
)
def test_values_become_gin_text_and_a_label(value, text, label):
    (point,) = plan({"X": [value]}).grid(None, 0)
    assert point.bindings == {"X": text}
    assert point.values == {"X": label or text}


def test_references_of_one_short_name_keep_their_long_ones():
    points = plan({"X": ["@a/layers.random", "@b/layers.random"]}).grid(None, 0)
    assert values(points) == [("@a/layers.random",), ("@b/layers.random",)]


def test_a_star_stands_for_every_component_of_a_kind_that_is_not_listed():
    (nodes,) = plan({"NODE": "@nodes.*"}).dimensions.values()
    assert nodes.description == list(NODES)
    (nodes,) = plan({"NODE": ["@nodes.hybrid", "@nodes.*", "@nodes.dwn"]}).dimensions.values()
    assert nodes.description[0] == "hybrid" and nodes.description[-1] == "dwn" and set(nodes.description) == set(NODES)
    (encoders,) = plan({"ENCODER": ["@encoders.*()"]}).dimensions.values()
    assert [choice.bindings["ENCODER"] for choice in encoders.choices] == [f"@encoders.{name}()" for name in ENCODERS]
    with pytest.raises(ConfigurationError, match=r"'@noodles\.\*' names no kind; did you mean 'nodes'"):
        plan({"NODE": "@noodles.*"})


def test_a_bundle_binds_several_names_under_one_label():
    size = {"small": {"a/x.size": 1, "b/x.size": 2}, "large": {"a/x.size": 10, "b/x.size": 20}}
    assert bindings({"size": size}) == [{"a/x.size": "1", "b/x.size": "2"}, {"a/x.size": "10", "b/x.size": "20"}]
    assert values(plan({"size": size}).grid(None, 0)) == [("small",), ("large",)]


def test_a_condition_sets_and_what_it_makes_equal_is_run_once():
    condition = {"if": {"NODE": "@nodes.difflogic"}, "set": {"N": 2, "network.tau": 3.0}}
    dimensions = {"NODE": ["@nodes.dwn", "@nodes.difflogic"], "N": [2, 4, 6]}
    points = plan(dimensions, condition).grid(None, 0)
    assert values(points) == [("dwn", "2"), ("dwn", "4"), ("dwn", "6"), ("difflogic", "2")]
    assert dict(points[-1].bindings) == {"NODE": "@nodes.difflogic", "N": "2", "network.tau": "3.0"}


def test_a_condition_may_know_a_bundle_by_its_label():
    points = plan(
        {"kind": {"a": {"X": 1}, "b": {"X": 2}}, "N": [2, 4, 6]}, {"if": {"kind": ["b"]}, "only": {"N": [4, 6]}}
    ).grid(None, 0)
    assert values(points) == [("a", "2"), ("a", "4"), ("a", "6"), ("b", "4"), ("b", "6")]


def test_of_too_large_a_grid_a_part_is_run_with_all_seeds():
    points = plan({"N": list(range(10)), "train.seed": [0, 1, 2]}).grid(max_trials=10, seed=1)
    by_seed = [[p.values["N"] for p in points if p.values["train.seed"] == seed] for seed in "012"]
    assert len(points) == 9 and by_seed[0] == by_seed[1] == by_seed[2] == sorted(by_seed[0])
    assert by_seed[0] != [p.values["N"] for p in plan({"N": list(range(10))}).grid(max_trials=3, seed=2)]


@pytest.mark.parametrize("draw", ["grid", "random"])
def test_of_more_seeds_than_trials_some_seeds_are_left_out(draw):
    points = getattr(plan({"N": list(range(10)), "train.seed": [0, 1, 2]}), draw)(max_trials=2, seed=1)
    assert [point.values["train.seed"] for point in points] == ["0", "1"]
    assert points[0].values["N"] == points[1].values["N"]


def test_random_trials_are_distinct_within_their_ranges_and_follow_from_the_seed():
    dimensions = {"LR": "log_uniform(1e-4, 1e-1)", "P": "uniform(0, 1)", "N": "integers(2, 6)", "train.seed": [0, 1]}
    points = plan(dimensions).random(40, seed=3)
    assert len(points) == 40 and points == plan(dimensions).random(40, seed=3) != plan(dimensions).random(40, seed=4)
    rates = [float(p.bindings["LR"]) for p in points[:20]]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates) and sum(rate < 3.2e-3 for rate in rates) in range(5, 16)
    assert {p.bindings["N"] for p in points} <= set("23456") and len({p.bindings["P"] for p in points}) == 20


def test_a_small_space_gives_fewer_random_trials_than_asked_for():
    assert sorted(values(plan({"N": "integers(2, 4)"}).random(10, seed=0))) == [("2",), ("3",), ("4",)]


@pytest.mark.parametrize(
    ("dimensions", "conditions", "message"),
    [
        ({}, (), "at least one dimension"),
        ({"N": []}, (), "'N' has no values"),
        ({"N": 3}, (), "must be a list, a dictionary or a range, got 3"),
        ({"N": [1, 1]}, (), "has a value twice: 1, 1"),
        ({"N": "uniform(1)"}, (), "is none of uniform"),
        ({"N": "log_uniform(0, 1)"}, (), "is none of uniform"),
        ({"N": "integers(1, 2.5)"}, (), "is none of uniform"),
        ({"N": "uniform(0, 1)"}, (), "a grid cannot hold uniform.*ablate.search = 'random'"),
        ({"N": {"a": 1}}, (), "'a': must be a dictionary of Gin names"),
        ({"N": [1]}, ({"if": {"N": 1}},), "keys 'if' and 'set', or 'if' and 'only'"),
        ({"N": [1]}, ({"if": {"M": 1}, "set": {"N": 1}},), "no dimension is called 'M'; there are N"),
        ({"N": [1]}, ({"if": {"N": 2}, "set": {"X": 1}},), "'N' has no value 2; it has 1"),
        ({"N": [1, 2]}, ({"if": {"N": 1}, "set": {"N": 7}},), "'N' has no value 7; it has 1, 2"),
        ({"N": [1, 2]}, ({"if": {"N": [1, 2]}, "only": {"N": []}},), "leave no trial"),
    ],
)
def test_wrong_dimensions_and_conditions_are_named(dimensions, conditions, message):
    with pytest.raises(ConfigurationError, match=message):
        plan(dimensions, *conditions).grid(None, 0)


def test_every_configuration_is_built_once_and_its_size_printed(capsys):
    config.parse([], text=BASE)
    checker = Checker(config.parsed_config())
    sweep = plan({"N": [2, 4], "hidden/layers.random.output_size": [30, 50], "train.seed": [0, 1]})
    with kept_rows({}) as rows:
        sizes = checker.sizes(sweep.grid(None, 0))
    assert [size["tables"] for size in sizes] == 2 * [50, 70, 50, 70]
    assert [size["parameters"] for size in sizes] == 2 * [50 * 4, 70 * 4, 50 * 16, 70 * 16]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert " ".join(lines[3].split()) == "70 tables 1,120 parameters N = 4, hidden/layers.random.output_size = 50"
    assert list(rows) == ["digits"]


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ({"N": [4, 9]}, "^trial 2 of 2, N = 9: .*a node may have .* inputs, got input_dim=9"),
        ({"NODE": ["@nodes.dwn", "@nodes.dnw"]}, "trial 2 of 2, NODE = dnw: .*nodes.dnw"),
        ({"nodes.dwn.input_dm": [4]}, "trial 1 of 1, nodes.dwn.input_dm = 4: .*input_dm"),
        ({"output/layers.random.output_size": [20, 25]}, "output_size = 25: .*25 features cannot be divided into k=10"),
        ({"dataset.name": ["digits", "digitz"]}, "dataset.name = digitz: .*did you mean 'digits'"),
        ({"optimizers.adam.lr": [0.1, -1.0]}, "lr = -1.0"),
        ({"tracking.mode": ["disabled", "ofline"]}, "^trial 2 of 2, tracking.mode = ofline: .*there is no 'ofline'"),
    ],
)
def test_a_wrong_trial_stops_the_sweep_before_anything_starts(dimension, message, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    parameters = [f"ablate.dimensions = {dimension!r}", f'ablate.runs = "{tmp_path}/runs"']
    config.parse([], parameters, text=BASE)
    with pytest.raises(ConfigurationError, match=message):
        config.run()
    assert not (tmp_path / "runs").exists()


def test_a_trial_is_the_sweeps_text_with_its_bindings_last():
    config.parse([], text=BASE)
    text = trial_config(config.parsed_config(), {"N": "6", "hidden/layers.random.output_size": "40"})
    config.parse([], text=text)
    built = config.run(dry_run=True)
    network = built.pop("network")
    assert network.num_luts == 60 and not network.encoder.fitted
    assert built == {"tables": 60, "parameters": 60 * 64, "epochs": 20, "validation_rows": 144}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_driver_without_a_gpu_checks_trials_for_one():
    config.parse([], text=BASE)
    config.parse([], text=trial_config(config.parsed_config(), {"N": "6", "train.device": '"cuda"'}))
    assert config.run(dry_run=True)["epochs"] == 20
