"""Writing the report of a sweep."""

from pathlib import Path

from experiments.report.drawing import draw
from experiments.report.page import page
from experiments.report.summary import FRONT_SCORES, LUT_PARTS, SCORES, Summary
from experiments.report.tables import (
    configuration_table,
    configurations_csv,
    effect_table,
    effects_csv,
    front_table,
    trials_csv,
    unfinished_table,
)
from experiments.runs import Sweep
from experiments.shared.arguments import configured
from experiments.shared.files import write_file
from experiments.shared.tables import escaped


def write_report(folder: str | Path) -> Path:
    """Writes the report of a sweep into its folder `report`, prints its tables, and gives the page's path."""
    with configured():
        sweep = Sweep.open(folder)
    summary = Summary(sweep)
    path = summary.sweep.report
    write_file(path / "trials.csv", trials_csv(summary.outcomes))
    write_file(path / "configurations.csv", configurations_csv(summary.ranked, [*SCORES, *LUT_PARTS]))
    write_file(path / "effects.csv", effects_csv(effect for effects in summary.effects.values() for effect in effects))
    figures = draw(summary, path)
    write_file(path / "report.md", _markdown(summary, figures))
    write_file(path / "report.html", page(summary, figures))
    print(_text(summary))
    print(f"report: {path / 'report.html'}")
    return path / "report.html"


def _text(summary: Summary) -> str:
    parts = [f"{summary.sweep.name}: {summary.progress}"]
    if summary.ranked:
        parts.append(configuration_table(summary.ranked, SCORES).text())
    parts += [effect_table(effects).text() for effects in summary.effects.values()]
    failed = unfinished_table(summary.outcomes, "failed")
    return "\n\n".join([*parts, f"failed:\n{failed.text()}"] if failed else parts) + "\n"


def _markdown(summary: Summary, figures: dict[str, Path]) -> str:
    parts = [f"# {escaped(summary.sweep.name)}", f"{summary.progress}, {summary.sweep.created}"]
    if summary.ranked:
        parts += [summary.caveat] if summary.caveat else []
        parts += ["## Configurations", configuration_table(summary.ranked, SCORES).markdown()]
    if summary.front:
        parts += ["## Pareto front", front_table(summary.front, FRONT_SCORES, summary.sweep.trials_path).markdown()]
    for label, effects in summary.effects.items():
        parts += [f"## {escaped(label)}", effect_table(effects).markdown()]
    for status in ("failed", "stopped"):
        table = unfinished_table(summary.outcomes, status)
        parts += [f"## {status.capitalize()}", table.markdown()] if table else []
    parts += [f"![{escaped(title)}]({path.name})" for title, path in figures.items()]
    return "\n\n".join(parts) + "\n"
