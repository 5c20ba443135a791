"""The job that compares `LUTClassifier` with a random forest."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from difflut.estimators import LUTClassifier
from difflut.registry import register_job
from experiments.benchmark.tabular_sets import loaded, tabular_sets
from experiments.data import dataset_names
from experiments.runs import RunFolder
from experiments.shared.arguments import check_names, check_whole
from experiments.shared.files import write_file
from experiments.shared.tables import Table

HEADER = """# LUTClassifier and a random forest

Accuracy on a third of the rows, in per cent, and CPU seconds to fit, both with default arguments; means of {splits}
splits.

"""


@register_job("tabular")
def tabular(sets: Sequence[str] | None = None, splits: int = 3, runs: str = "runs") -> list[dict[str, Any]]:
    """Compares `LUTClassifier` with scikit-learn's random forest, both with default arguments; writes a table.

    Two thirds of the rows train, the others test, as often as `splits` says, each time drawn with another seed.

    Args:
        sets: Names of `tabular_sets`, all of which are taken where no name is given, or of data sets as `dataset.name`
            takes them, whose training and test rows are put together.
        splits: Splits of each table.
        runs: The folder of run folders.

    Returns:
        For each set its name, rows, columns and classes, the accuracies and the seconds of both.
    """
    known = tabular_sets()
    of_openml = [name for name in sets or [] if name.startswith("openml:")]
    loadable = {name: partial(loaded, name) for name in [*dataset_names(), *of_openml]} | known
    check_names("tabular.sets", sets or [], loadable)
    check_whole("tabular.splits", splits)
    folder = RunFolder.create(runs, "tabular")
    LUTClassifier(votes=4, epochs=1, explores=False).fit(np.eye(4), [0, 1, 0, 1])  # compiles kernels, where none are
    found: list[dict[str, Any]] = []
    for name in sets or known:
        x, y = loadable[name]()
        measured = np.mean([_measure(x, y, seed) for seed in range(splits)], axis=0)
        names = "forest", "ours", "forest_seconds", "our_seconds"
        shape = {"rows": len(x), "columns": x.shape[1], "classes": len(np.unique(y))}
        found.append({"set": name} | shape | dict(zip(names, measured.tolist(), strict=True)))
        print(_table(found[-1:]).text(), flush=True)
    table = _table(found)
    write_file(folder.path / "report.md", HEADER.format(splits=splits) + table.markdown() + "\n")
    print(f"{table.text()}\ntable: {folder.path / 'report.md'}")
    return found


def _measure(x: np.ndarray, y: np.ndarray, seed: int) -> list[float]:
    """The accuracies of the forest and of the network in per cent, then the CPU seconds that each took to fit."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=1 / 3, random_state=seed, stratify=y)
    accuracies, seconds = [], []
    for classifier in (RandomForestClassifier(random_state=seed), LUTClassifier(random_state=seed)):
        start = time.process_time()
        classifier.fit(x_train, y_train)
        seconds.append(time.process_time() - start)
        accuracies.append(100 * classifier.score(x_test, y_test))
    return accuracies + seconds


def _table(found: Sequence[dict[str, Any]]) -> Table:
    titles = ["set", "rows", "columns", "classes", "forest", "LUTClassifier", "difference", "seconds", "times forest's"]
    rows = [
        [
            row["set"], *(str(row[name]) for name in ("rows", "columns", "classes")), f"{row['forest']:.1f}",
            f"{row['ours']:.1f}", f"{row['ours'] - row['forest']:+.1f}", f"{row['our_seconds']:.2f}",
            f"{row['our_seconds'] / row['forest_seconds']:.1f}",
        ]
        for row in found
    ]  # fmt: skip
    return Table(titles, rows, frozenset(range(1, len(titles))))
