"""Published results for a data set: accuracy and LUTs, and whether the encoder is among these."""

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ENCODER = ("counted", "not counted", "not said")


@dataclass(frozen=True)
class Published:
    """A network of a publication: accuracy as a share, LUTs of six inputs, and one of `ENCODER`."""

    name: str
    accuracy: float
    luts: int
    encoder: str


def published(dataset: str | None) -> list[Published]:
    """The points of `DATASET.csv` in this folder; none where there is no such file."""
    path = FOLDER / f"{dataset}.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [
            Published(row["name"], float(row["accuracy"]) / 100, int(row["luts"]), row["encoder"])
            for row in csv.DictReader(file)
        ]
