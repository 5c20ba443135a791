"""What a search and a scheduler may go by; nothing that is measured on the test set."""

from collections.abc import Mapping
from typing import Any

from difflut.config import ConfigurationError
from experiments.runs import RunFolder
from experiments.shared.costs import CHAINED, PARTS, REGISTERS, SIZES, USED

OF_EPOCHS = ("val_accuracy_hard", "val_accuracy_relaxed", "train_accuracy", "train_loss", "gap")
OF_VALIDATION = ("val_accuracy_hard", "val_accuracy_relaxed", "gap")
OF_LUTS = ("luts", *PARTS, CHAINED, *REGISTERS)
OF_RESULTS = (*OF_LUTS, *SIZES, *USED)


def check_objectives(objectives: Mapping[str, str], scheduler: str, search: str = "grid") -> list[str]:
    """Checks that objectives are known, and that the scheduler can use the first of them.

    Returns:
        The objectives that the scheduler or the search uses.

    Raises:
        ConfigurationError: They are not.
    """
    if not objectives or not set(objectives.values()) <= {"max", "min"}:
        raise ConfigurationError(f"ablate.objectives must say 'max' or 'min' for each key, got {dict(objectives)!r}")
    for name in objectives:
        if name not in OF_EPOCHS + OF_RESULTS:
            known = ", ".join(OF_EPOCHS + OF_RESULTS)
            raise ConfigurationError(f"ablate.objectives: each key must be one of {known}; got {name!r}")
    first = next(iter(objectives))
    if scheduler == "asha" and first not in OF_EPOCHS:
        raise ConfigurationError(
            f"ablate.scheduler = 'asha' needs a first objective that each epoch has, one of {', '.join(OF_EPOCHS)}; "
            f"got {first!r}"
        )
    return list(objectives) if search == "optuna" else [first] if scheduler == "asha" else []


def measures(run: RunFolder, result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a run that may be objectives: metrics of its best epoch, and results without the test set.

    An objective is missing where the run has none: `gap` without validation rows.
    """
    best = next((row for row in run.metrics() if row["epoch"] == result.get("best_epoch")), {})
    return {**best, **{name: result[name] for name in OF_RESULTS if name in result}}
