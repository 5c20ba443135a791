"""The table of reproduced results, from the run folders."""

import statistics
from pathlib import Path
from typing import Any

from difflut.config import ConfigurationError, read_bindings
from difflut.registry import register_job
from experiments.reproduction.summary import RESULT, accuracy_in_words, mean_cost, time_in_words
from experiments.shared.arguments import check_folder
from experiments.shared.costs import in_words
from experiments.shared.files import read_json, write_file
from experiments.shared.tables import markdown_table

TITLES = (
    "paper", "data", "network", "published", "goal", "measured", "seeds", "gap", "tables", "look-ups", "bits", "LUT6",
    "circuit", "time", "command",
)  # fmt: skip
TEXTS = ("paper", "data", "network", "LUT6", "command")
NUMBERS = {number for number, title in enumerate(TITLES) if title not in TEXTS}
HEADER = """# Published results, reproduced

Written by `python run.py --gin_file gin_configs/papers.gin` from the run folders of the commands in the last column. A
row stays as it is until its command is run again. Recipes were chosen on validation rows; the test set chose nothing.

- **published, goal**: accuracy in the paper, and the accuracy that we set out to reach, in per cent
- **measured**: accuracy of the hard network on the test set after the last epoch: mean ± standard deviation over seeds
- **gap**: relaxed minus hard accuracy; "not measured" where the hard tables alone were kept
- **tables**: tables that were trained; those of a convolution count once
- **look-ups**: tables that are read for one sample
- **bits**: entries and wiring of the tables that were trained
- **LUT6**: cost of the whole network in hardware, by estimate; "as trained": too large to be simplified first
- **circuit**: test rows, of all seeds, on which the circuit was compared with the network; none differed
- **time**: mean of one training, and the most memory that it held; several may have shared the device

"""


@register_job("papers")
def papers(configs: str = "gin_configs/papers", runs: str = "runs", write: str = "docs/papers.md") -> str:
    """Writes the table of all reproductions: of each Gin file its newest finished run or, where there is none, the row
    that was there before.

    Args:
        configs: The folder of the Gin files.
        runs: The folder in which the reproductions lie.
        write: The file to write.

    Returns:
        The table.

    Raises:
        ConfigurationError: There are no Gin files, one lacks what the table says of it, or the file cannot be written.
    """
    files = sorted(Path(configs).glob("*.gin"))
    if not files:
        raise ConfigurationError(f"papers.configs = {configs!r}: no Gin files here")
    check_folder("papers.write", Path(write).parent)
    before, rows, remarks = _rows_by_file(Path(write)), [], []
    for file in files:
        names = [f"reproduce.{key}" for key in ("paper", "network", "remarks", "published", "goal")]
        bound = read_bindings(file, [*names, "dataset.name"])
        if missing := [name for name in (*names[:2], "dataset.name") if name not in bound]:
            raise ConfigurationError(f"{file}: {missing[0]} must be set, for the table")
        bound = {key.removeprefix("reproduce."): value for key, value in bound.items()}
        results = sorted(Path(runs).glob(f"{file.stem}-[0-9]*/{RESULT}"))
        summary = (read_json(results[-1]) if results else {}) | bound
        kept = None if results else before.get(file.name)
        row = kept or _row(summary) | {"command": f"`python run.py --gin_file {file}`"}
        rows.append([row.get(title, "") for title in TITLES])
        if summary.get("remarks"):
            remarks.append(f"- {file.stem}: {summary['remarks']}\n")
    text = f"{HEADER}{markdown_table(TITLES, rows, NUMBERS)}\n" + "".join(["\n", *remarks] if remarks else [])
    Path(write).parent.mkdir(parents=True, exist_ok=True)
    write_file(Path(write), text)
    print(text)
    return text


def _rows_by_file(table: Path) -> dict[str, dict[str, str]]:
    """The rows of a table, by title, under the name of the Gin file in their command."""
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    cells = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines if line.startswith("| ")]
    rows = [dict(zip(cells[0], row, strict=False)) for row in cells[1:]]
    return {row["command"].rpartition("/")[2].removesuffix("`"): row for row in rows}


def _row(summary: dict[str, Any]) -> dict[str, str]:
    """The cells of a row by title, without its command."""
    row = {"paper": summary["paper"], "data": summary["dataset.name"], "network": summary["network"]}
    row |= {key: _percent(summary.get(key)) for key in ("published", "goal")}
    if "hard" not in summary:
        return row | {"measured": "not run"}
    mean = statistics.fmean(summary["hard"])
    goal = summary.get("goal") or summary.get("published")
    return row | {
        "measured": accuracy_in_words(summary["hard"]) + ("" if goal is None or mean >= goal else " (missed)"),
        "seeds": str(len(summary["seeds"])),
        "gap": f"{statistics.fmean(summary['gap']):+.2f}" if summary["gap"] else "not measured",
        "tables": f"{summary['tables']:,}",
        "look-ups": f"{summary['lookups']:,}",
        "bits": f"{summary['bits']:,}",
        "LUT6": in_words(mean_cost(summary)),
        "circuit": f"{sum(summary['circuit_rows']):,}" if summary["circuit_rows"] else "not compared",
        "time": time_in_words(summary),
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
