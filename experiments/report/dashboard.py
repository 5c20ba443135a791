"""The dashboard job: the Weights & Biases workspace of a sweep, as code."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from difflut.config import ConfigurationError
from difflut.registry import register_job
from experiments.runs import Sweep, tracking_key
from experiments.shared.arguments import configured
from experiments.shared.failures import in_a_line
from experiments.shared.files import write_json

ACCURACY, LUTS = "test_accuracy_hard", "luts"
CURVES = {"val_accuracy_hard": "Hard accuracy", "gap": "Gap", "samples_per_second": "Training throughput"}


@register_job("dashboard")
def dashboard(sweep: str, project: str = "difflut", entity: str | None = None) -> dict[str, Any]:
    """Builds a sweep's W&B workspace, checks it against what the runs log, and saves it where one is logged in.

    The workspace shows the runs of the sweep's group: accuracy, gap and throughput by epoch, accuracy against LUTs,
    parallel coordinates, and bars by dimension. The runs are filtered by the group, not grouped by it in the table of
    runs: a grouped table would melt them into one mark in scatter plots and parallel coordinates. The specification is
    kept in the sweep's folder as `report/dashboard.json`. Saving again makes another view beside the first.

    Args:
        sweep: The sweep's folder.
        project: The project to which its runs are uploaded.
        entity: User or team; None is the default one of the login.

    Returns:
        The workspace's specification.

    Raises:
        ConfigurationError: wandb-workspaces cannot be imported.
        ValueError: The workspace names something that the sweep's runs do not log.
    """
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"the dashboard needs wandb-workspaces ({error}): pip install wandb-workspaces"
        ) from error
    with configured():
        opened = Sweep.open(sweep)
    login = _login()
    entity = entity or login or "entity"
    workspace = _workspace(opened, project, entity)
    checked = _check(workspace, opened)
    specification = workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    path = opened.report / "dashboard.json"
    write_json(path, specification)
    panels = sum(len(section.panels) for section in workspace.sections)
    print(f"dashboard: {panels} panels, valid; {checked}; {path}")
    if login:
        print(f"dashboard: {workspace.save().url}")
    else:
        print("dashboard: not saved, no login: wandb login, wandb sync of the runs, then this job again")
    return specification


def _login() -> str | None:
    """The entity of the account that one is logged in to."""
    import wandb

    try:
        return wandb.Api().default_entity if wandb.login(prompt=False, verify=True) else None
    except Exception as error:
        # Whatever stands in the way, a dashboard can be built and checked without an account.
        print(f"dashboard: no login ({in_a_line(error)})")
        return None


def _workspace(sweep: Sweep, project: str, entity: str) -> Any:
    import wandb_workspaces.workspaces as ws

    keys = [tracking_key(label) for label in sweep.dimensions if label != sweep.seed_dimension]
    sections = [
        ws.Section(name="Results", panels=_results(keys), is_open=True),
        ws.Section(name="Training", panels=[_curve(key, title) for key, title in CURVES.items()], is_open=True),
        *(ws.Section(name=f"By {key}", panels=_by_dimension(key), is_open=True) for key in keys),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=sweep.path.name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="Step", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Metric("Group") == sweep.group),
            order=[ws.Ordering(ws.Summary(ACCURACY), ascending=False)],
            pinned_columns=[f"summary:{ACCURACY}", f"summary:{LUTS}", *(f"config:{key}.value" for key in keys)],
        ),
    )


def _results(keys: Sequence[str]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    accuracy, size = wr.SummaryMetric(ACCURACY), wr.SummaryMetric(LUTS)
    axes = [*map(wr.Config, keys), size, accuracy]
    return [
        wr.ScatterPlot(title="Hard accuracy and LUT6, encoder included", x=size, y=accuracy, log_x=True),
        wr.ParallelCoordinatesPlot(
            title="All dimensions", columns=[wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
        ),
    ]


def _curve(key: str, title: str, groupby: Any = None) -> Any:
    import wandb_workspaces.reports.v2 as wr

    band = {"groupby": groupby, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"} if groupby else {}
    return wr.LinePlot(title=title, y=[wr.Metric(key)], max_runs_to_show=100, **band)


def _by_dimension(key: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    value = wr.Config(key)
    bars = {ACCURACY: "Hard accuracy", LUTS: "LUT6, encoder included"}
    return [
        *(
            wr.BarPlot(
                title=f"{title} by {key}",
                metrics=[wr.Metric(metric)],
                groupby=value,
                groupby_aggfunc="mean",
                groupby_rangefunc="stddev",
            )
            for metric, title in bars.items()
        ),
        _curve("val_accuracy_hard", f"Validation accuracy by {key}", value),
    ]


def _check(workspace: Any, sweep: Sweep) -> str:
    """Compares the names in the panels with those that finished trials left in their folders, and says so in words."""
    finished = [trial for trial in sweep.trials if trial.result]
    if not finished:
        return "its names could not be checked, since no trial has finished"
    logged = {"seed", *(tracking_key(label) for trial in finished for label in trial.values)}
    for trial in finished:
        logged |= {*(trial.result or {}), *(key for row in trial.metrics() for key in row)}
    named = set(_names([section.panels for section in workspace.sections]))
    if named - logged:
        raise ValueError(f"{sweep.path}: its runs log no {', '.join(sorted(named - logged))}")
    return f"its {len(named)} names are in the {len(finished)} finished runs"


def _names(value: Any) -> Iterator[str]:
    """The names of all metrics and configuration keys in panels."""
    import wandb_workspaces.reports.v2 as wr

    if isinstance(value, (wr.Metric, wr.SummaryMetric, wr.Config)):
        yield value.name
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _names(item)
    elif dataclasses.is_dataclass(value):
        yield from _names([getattr(value, field.name) for field in dataclasses.fields(value)])
