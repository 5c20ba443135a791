import json
import sys

import pytest

import experiments.report.dashboard as module
from difflut.config import ConfigurationError
from experiments.report.dashboard import dashboard

DIMENSIONS = {"node": ["dwn", "warp"], "layers.random.n": ["4", "6"], "train.seed": ["0", "1"]}


pytestmark = pytest.mark.usefixtures("no_login")


def panels(specification):
    sections = specification["spec"]["section"]["panelBankConfig"]["sections"]
    return [
        (section["name"], panel["viewType"], panel["config"]) for section in sections for panel in section["panels"]
    ]


@pytest.mark.needs("wandb_workspaces")
def test_the_workspace_shows_the_group_and_every_dimension(made_up_sweep, capsys):
    sweep = made_up_sweep(DIMENSIONS)
    specification = dashboard(str(sweep.path), project="luts", entity="me")
    assert (specification["project"], specification["entity"]) == ("luts", "me")
    shown = panels(specification)
    parallel = next(config for _, kind, config in shown if kind == "Parallel Coordinates Plot")
    assert [column["accessor"] for column in parallel["columns"]] == [
        "config:node.value", "config:layers_random_n.value", "summary:luts", "summary:test_accuracy_hard",
    ]  # fmt: skip
    bars = [config for name, kind, config in shown if kind == "Bar Chart" and name == "By layers_random_n"]
    assert [(bar["metrics"], bar["groupBy"], bar["groupAgg"]) for bar in bars] == [
        (["test_accuracy_hard"], "layers_random_n.value", "mean"), (["luts"], "layers_random_n.value", "mean"),
    ]  # fmt: skip
    curves = {metric for _, kind, config in shown if kind == "Run History Line Plot" for metric in config["metrics"]}
    assert curves == {"val_accuracy_hard", "gap", "samples_per_second"}
    assert "made up" in json.dumps(specification["spec"]["section"]["runSets"][0]["filters"])
    output = capsys.readouterr().out
    assert "11 panels, valid; its 7 names are in the 8 finished runs" in output and "not saved, no login" in output
    assert json.loads((sweep.report / "dashboard.json").read_text()) == specification


@pytest.mark.needs("wandb_workspaces")
def test_a_name_that_no_run_logs_is_an_error(made_up_sweep, monkeypatch):
    monkeypatch.setitem(module.CURVES, "speed", "Speed")
    with pytest.raises(ValueError, match="its runs log no speed"):
        dashboard(str(made_up_sweep(DIMENSIONS).path))


@pytest.mark.needs("wandb_workspaces")
def test_before_the_first_result_names_are_not_checked_and_that_is_said(made_up_sweep, capsys):
    dashboard(str(made_up_sweep(DIMENSIONS, lambda trial: None).path))
    assert "could not be checked, since no trial has finished" in capsys.readouterr().out


@pytest.mark.needs("wandb_workspaces")
def test_it_is_saved_where_one_is_logged_in(made_up_sweep, monkeypatch, capsys):
    import wandb_workspaces.workspaces.interface as interface

    sent = []

    def upsert(view):
        sent.append(view)
        return {"upsertView": {"view": {"name": "nw-abc-v", "id": "1"}}}

    monkeypatch.setattr(module, "_login", lambda: "someone")
    monkeypatch.setattr(interface.internal, "upsert_view2", upsert)
    monkeypatch.setattr(interface.Workspace, "url", "https://wandb.example/view")
    sweep = made_up_sweep(DIMENSIONS)
    dashboard(str(sweep.path))
    assert [(view.entity, view.project, view.display_name) for view in sent] == [
        ("someone", "difflut", sweep.path.name)
    ]
    assert "dashboard: https://wandb.example/view" in capsys.readouterr().out


def test_without_wandb_workspaces_the_job_fails_and_says_what_to_do(made_up_sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(ConfigurationError, match="pip install wandb-workspaces"):
        dashboard(str(made_up_sweep(DIMENSIONS).path))
