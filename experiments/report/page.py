"""The page of a report: one HTML file that needs nothing else."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from experiments.report.drawing import CURVES, PARALLEL, SIZE, TABLES, TIME
from experiments.report.summary import FRONT_SCORES, SCORES, Summary
from experiments.report.tables import (
    HARD,
    LUTS,
    configuration_table,
    effect_table,
    front_table,
    unfinished_table,
)
from experiments.shared.figures import FAINT, INK
from experiments.shared.tables import Table

HERE = Path(__file__).parent
# The page's colours, which follow light and dark, in place of the figures'.
COLOURS = {INK: "currentColor", FAINT: "var(--line)", "#ffffff": "var(--paper)"}
CAPTIONS = {
    SIZE: "Each mark is a configuration, the mean over its seeds. The line is the Pareto front by "
    "validation rows, so it may fall; the numbers at its members are their ranks. Grey marks are what was published.",
    TABLES: "The same against tables as trained; those of a convolution count once.",
    TIME: "The same against the time of a training.",
    CURVES: "Hard accuracy on validation rows. A line is the mean of all finished configurations with a value, "
    "its band the standard deviation over seeds; steep first epochs are cut off.",
    PARALLEL: "Each line is a configuration; the better, the higher in its bundle and the bluer.",
}
PAIRED = (
    "Left: every finished run, and the mean with the standard deviation over all of them. Right: the mean difference "
    "to the reference over pairs of runs that are equal in all other dimensions and the seed, with its standard error."
)
FITTED = (
    "Left: every finished run, and the mean with the standard deviation over all of them. Right: the difference to the "
    "reference in a sum of the effects of all dimensions, fitted to all runs, since too few of them are equal in all "
    "else; with its standard error, and each run's difference once the fitted effects of the others are taken off."
)
RANGE = "Every finished run at its value; the other dimensions vary as well."
RANKING = "Mean ± standard deviation over seeds. A click on a title sorts; coloured ranks are on the Pareto front."
TERMS = {
    "Hard accuracy": "Test accuracy of the truth tables, in the epoch that was best on validation rows; the mean and "
    "the standard deviation (n - 1 degrees of freedom) over seeds. Validation rows decide the ranking and the Pareto "
    "front. Where there are none, test rows do, and those of the first rank and of the front are a little optimistic.",
    "Gap": "Accuracy of the relaxed network minus that of the hard one.",
    "LUT6": "All that the hard network costs, in tables of six inputs: encoder, tables after simplification, popcount "
    "and argmax, by an estimate. configurations.csv has each part.",
    "Effect": "The mean difference of hard accuracy between pairs of runs that differ in this dimension only. Runs "
    "without a counterpart count in no pair, which biases nothing unless they are missing because they were bad. The "
    "reference is the first value listed, unless conditions leave it fewer other values to be compared with than "
    "another one. Where fewer than half of the runs have a counterpart, as in a random search, a sum of effects of all "
    "dimensions is fitted instead.",
    "Better": "How many of the differences are positive.",
}
# A longer ranking stands at the end, and its first rows at the beginning.
LONG, SHORT = 20, 10


def page(summary: Summary, figures: dict[str, Path]) -> str:
    """The page as text.

    Args:
        figures: The paths of the figures by title; the SVG beside each PNG is set into the page.
    """
    sections = [*_results(summary, figures), *_unfinished(summary), _definitions(), _repetition(summary)]
    body = _header(summary, [title for title, _ in sections]) + "".join(
        f'<section id="section{number}">\n<h2>{escape(title)}</h2>\n{content}\n</section>\n'
        for number, (title, content) in enumerate(sections)
    )
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(summary.sweep.name),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        body=body,
    )


def _header(summary: Summary, titles: Iterable[str]) -> str:
    facts = {"trials": str(len(summary.outcomes)), **(_best(summary) if summary.ranked else {})}
    shown = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(fact)}</dd></div>" for term, fact in facts.items())
    links = " ".join(f'<a href="#section{number}">{escape(title)}</a>' for number, title in enumerate(titles))
    created = datetime.fromisoformat(summary.sweep.created)
    return (
        f"<header>\n<h1>{escape(summary.sweep.name)}</h1>\n"
        f'<p class="soft">Sweep of {created:%d %B %Y, %H:%M}. {escape(summary.progress)}, '
        f"as of {datetime.now():%d %B %Y, %H:%M}.</p>\n"
        f'<dl class="facts">{shown}</dl>\n<nav>{links}</nav>\n</header>\n'
    )


def _best(summary: Summary) -> dict[str, str]:
    best = summary.ranked[0]
    return {
        "configurations": str(len(summary.ranked)),
        "hard accuracy of the first": f"{HARD.show_spread(best)} %",
        LUTS.title: LUTS.show_spread(best),
        "by": ", ".join(best.values[label] for label in summary.dimensions) or "the only configuration",
    }


def _results(summary: Summary, figures: dict[str, Path]) -> list[tuple[str, str]]:
    if not summary.ranked:
        return [("Results", "<p>No trial has finished yet.</p>")]
    ranking = configuration_table(summary.ranked, SCORES)
    long = len(ranking.rows) > LONG
    first = replace(ranking, rows=ranking.rows[:SHORT]) if long else ranking
    return [
        *([("Survivors only", f"<p>{escape(summary.caveat)}</p>")] if summary.caveat else []),
        ("Best configurations" if long else "Configurations", _ranking(summary, first)),
        *(
            [("Pareto front", _table(front_table(summary.front, FRONT_SCORES, summary.sweep.trials_path)))]
            if summary.front
            else []
        ),
        *_dimensions(summary, figures),
        *((title, _figure(figures[title], text)) for title, text in CAPTIONS.items() if title in figures),
        *([("All configurations", _ranking(summary, ranking))] if long else []),
    ]


def _dimensions(summary: Summary, figures: dict[str, Path]) -> list[tuple[str, str]]:
    sections, captions = [], set()
    for label in summary.dimensions:
        effects = summary.effects.get(label)
        caption = (FITTED if effects[0].fitted else PAIRED) if effects else RANGE
        # What a figure shows is said under the first of its kind.
        parts = [_figure(figures[label], "" if caption in captions else caption)] if label in figures else []
        parts += [_table(effect_table(effects))] if effects else []
        captions.add(caption)
        sections += [(label, "\n".join(parts))] if parts else []
    return sections


def _ranking(summary: Summary, table: Table) -> str:
    front = {summary.ranked.index(configuration) for configuration in summary.front}
    return _table(table, RANKING, lambda row: "front" if row in front else "")


def _unfinished(summary: Summary) -> list[tuple[str, str]]:
    tables = {status: unfinished_table(summary.outcomes, status) for status in ("failed", "stopped")}
    return [(f"{status.capitalize()} trials", _table(table)) for status, table in tables.items() if table]


def _definitions() -> tuple[str, str]:
    terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>\n" for term, text in TERMS.items())
    return "How to read this", f'<dl class="terms">\n{terms}</dl>'


def _repetition(summary: Summary) -> tuple[str, str]:
    return (
        "To repeat it",
        f"<pre>python run.py --gin_file {escape(str(summary.sweep.path / 'config.gin'))}</pre>\n"
        f"<details><summary>config.gin</summary>\n<pre>{escape(summary.sweep.config)}</pre></details>",
    )


def _table(table: Table, caption: str = "", kind: Callable[[int], str] = lambda row: "") -> str:
    numbers = ['class="number"' if column in table.numbers else "" for column in range(len(table.titles))]
    titles = "".join(
        f'<th scope="col" {number}><button>{escape(title) or "#"}</button></th>'
        for number, title in zip(numbers, table.titles, strict=True)
    )
    rows = "".join(
        f'<tr class="{kind(index)}">'
        + "".join(f"<td {number}>{escape(cell)}</td>" for number, cell in zip(numbers, row, strict=True))
        + "</tr>\n"
        for index, row in enumerate(table.rows)
    )
    head = f"<caption>{escape(caption)}</caption>\n<thead><tr>{titles}</tr></thead>"
    return f'<div class="scroll"><table>\n{head}\n<tbody>\n{rows}</tbody></table></div>'


def _figure(path: Path, caption: str) -> str:
    return f"<figure>\n{_inline(path.with_suffix('.svg'))}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def _inline(path: Path) -> str:
    """A figure's SVG to stand in HTML: without its preamble, in the page's colours, its names unique in the page."""
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for colour, ours in COLOURS.items():
        svg = re.sub(colour, ours, svg, flags=re.IGNORECASE)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{path.stem}-", svg)
