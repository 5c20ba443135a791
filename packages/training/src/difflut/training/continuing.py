"""Whether training may continue from a state."""

from typing import Any

# The settings of an optimizer that decide its steps. Others that torch keeps differ by device and version.
SETTINGS = {"lr", "betas", "eps", "momentum", "dampening", "nesterov", "weight_decay", "amsgrad", "maximize"}


def check_optimizer(name: str, groups: list[dict[str, Any]], state: dict[str, Any]) -> None:
    """Refuses the state of another optimizer or of other settings; of the rate the initial value is compared.

    Args:
        name: Name of the optimizer's class.
        groups: Its parameter groups.
        state: That of a trainer.

    Raises:
        ValueError: It is one; the error names the setting and both values.
    """
    if state["optimizer_type"] != name:
        raise ValueError(f"the state is of the optimizer {state['optimizer_type']}, not of {name}")
    saved = state["optimizer"]["param_groups"]
    if [len(group["params"]) for group in groups] != [len(group["params"]) for group in saved]:
        raise ValueError(f"the state is of a {name} with other parameters")
    for own, other in zip(groups, saved, strict=True):
        for key in SETTINGS & own.keys() & other.keys():
            a, b = (group.get(f"initial_{key}", group[key]) for group in (own, other))
            if a != b:
                raise ValueError(f"the state is of a {name} with {key}={b!r}, not {a!r}")
