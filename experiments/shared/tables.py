"""Tables for a terminal, as Markdown and as CSV."""

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

MISSING = "-"


@dataclass(frozen=True)
class Table:
    """Cells as text, under titles; `numbers` are the columns to set flush right."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()

    def text(self, limit: int = 30) -> str:
        """Aligned columns for a terminal; rows beyond the limit become a line that counts them."""
        lines = [self.titles, *self.rows[:limit]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        shown = ["  ".join(map(self._aligned, range(len(widths)), line, widths)).rstrip() for line in lines]
        if len(self.rows) > limit:
            shown.append(f"… and {len(self.rows) - limit} more")
        return "\n".join(shown)

    def _aligned(self, column: int, cell: str, width: int) -> str:
        return cell.rjust(width) if column in self.numbers else cell.ljust(width)

    def markdown(self) -> str:
        """Markdown that shows each cell as it is."""
        lines = [list(map(escaped, line)) for line in (self.titles, *self.rows)]
        return markdown_table(lines[0], lines[1:], self.numbers)


def markdown_table(titles: Iterable[str], rows: Iterable[Iterable[object]], numbers: Collection[int] = ()) -> str:
    """A table whose cells are Markdown already.

    Args:
        numbers: Columns to set flush right.
    """
    titles = list(titles)
    rule = "|" + "".join("--:|" if column in numbers else "---|" for column in range(len(titles)))
    return "\n".join([_line(titles), rule, *map(_line, rows)])


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """A line for each row, below the keys of the first row."""
    rows = list(rows)
    text = StringIO()
    writer = csv.DictWriter(text, rows[0] if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def cell(value: Any) -> str:
    """A value as text: three digits of a number below 100, the whole part of a larger one."""
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    return MISSING if value is None else str(value)


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is, in one line."""
    return re.sub(r"[\\`*<\[\]|~$&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
