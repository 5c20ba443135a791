"""The dimensions of a sweep: which values a Gin binding, a macro or a bundle of bindings takes."""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from difflut.config import ConfigurationError
from difflut.registry import DATASETS, JOBS, KINDS, closest


@dataclass(frozen=True)
class Choice:
    """One value of a dimension: the text that stands for it in tables, and what it binds, Gin name by Gin text."""

    label: str
    bindings: Mapping[str, str]

    def matches(self, value: Any) -> bool:
        """Whether a condition's value means this choice: its label, or what it binds."""
        return value == self.label or gin_text(value) in (*self.bindings.values(), self.label)


@dataclass(frozen=True)
class Listed:
    """A dimension whose values are listed."""

    label: str
    choices: Sequence[Choice]

    @property
    def description(self) -> list[str]:
        return [choice.label for choice in self.choices]

    def sample(self, random: Random) -> Choice:
        return random.choice(self.choices)

    def choice(self, value: Any) -> Choice:
        """The listed choice that a value means.

        Raises:
            ConfigurationError: There is none.
        """
        for choice in self.choices:
            if choice.matches(value):
                return choice
        raise ConfigurationError(
            f"dimension {self.label!r} has no value {value!r}; it has {', '.join(self.description)}"
        )


@dataclass(frozen=True)
class Range:
    """A dimension of numbers, drawn evenly or, with `log`, evenly in their logarithm; both ends count."""

    label: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    @property
    def description(self) -> list[str]:
        kind = "integers" if self.integer else "log_uniform" if self.log else "uniform"
        return [f"{kind}({self.low!r}, {self.high!r})"]

    @property
    def choices(self) -> Sequence[Choice]:
        """Every value of a range of integers.

        Raises:
            ConfigurationError: There are infinitely many.
        """
        if self.integer:
            return [self.choice(value) for value in range(int(self.low), int(self.high) + 1)]
        raise ConfigurationError(
            f"dimension {self.label!r}: a grid cannot hold {self.description[0]}; "
            "list values, or set ablate.search = 'random'"
        )

    def sample(self, random: Random) -> Choice:
        if self.integer:
            return self.choice(random.randint(int(self.low), int(self.high)))
        if self.log:
            return self.choice(math.exp(random.uniform(math.log(self.low), math.log(self.high))))
        return self.choice(random.uniform(self.low, self.high))

    def choice(self, value: Any) -> Choice:
        """A number as choice, with four digits, so that tables stay readable."""
        text = gin_text(value if self.integer or not isinstance(value, float) else float(f"{value:.4g}"))
        return Choice(text, {self.label: text})


Dimension = Listed | Range


def read_dimensions(dimensions: Mapping[str, Any]) -> dict[str, Dimension]:
    """Reads `ablate.dimensions`.

    Raises:
        ConfigurationError: A dimension has a form that is not known, or no values.
    """
    if not isinstance(dimensions, Mapping) or not dimensions:
        raise ConfigurationError("ablate.dimensions must be a dictionary with at least one dimension")
    return {label: _dimension(label, values) for label, values in dimensions.items()}


def gin_text(value: Any) -> str:
    """A value as Gin writes it; text that begins with @ or % is a reference, at any depth."""
    if isinstance(value, str) and value[:1] in ("@", "%"):
        return value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{gin_text(key)}: {gin_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(gin_text, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(f"{gin_text(item)}, " for item in value) + ")"
    return repr(value)


def _dimension(label: str, values: Any) -> Dimension:
    if isinstance(values, str) and not values.startswith("@"):
        return _range(label, values)
    values = [values] if isinstance(values, str) else values
    if isinstance(values, Mapping):
        choices = [Choice(str(name), _bundle(label, name, bindings)) for name, bindings in values.items()]
    elif isinstance(values, Sequence):
        values = _expanded(label, values)
        choices = [Choice(text, {label: gin_text(value)}) for text, value in zip(_labels(values), values, strict=True)]
    else:
        raise ConfigurationError(f"dimension {label!r} must be a list, a dictionary or a range, got {values!r}")
    if not choices:
        raise ConfigurationError(f"dimension {label!r} has no values")
    if len({choice.label for choice in choices}) < len(choices):
        raise ConfigurationError(f"dimension {label!r} has a value twice: {', '.join(c.label for c in choices)}")
    return Listed(label, choices)


def _expanded(label: str, values: Sequence[Any]) -> list[Any]:
    """The values, with every component of the kind that is not listed in the place of `@nodes.*` or `@encoders.*()`."""
    expanded: list[Any] = []
    for value in values:
        wildcard = re.fullmatch(r"@(\w+)\.\*(\(\))?", value) if isinstance(value, str) else None
        if wildcard is None:
            expanded.append(value)
            continue
        kinds = {kind.plural: kind for kind in KINDS if kind is not DATASETS and kind is not JOBS}
        if wildcard[1] not in kinds:
            raise ConfigurationError(f"dimension {label!r}: {value!r} names no kind; {closest(wildcard[1], kinds)}")
        names = [f"@{wildcard[1]}.{name}{wildcard[2] or ''}" for name in kinds[wildcard[1]]]
        expanded += [name for name in names if name not in values]
    return expanded


def _bundle(label: str, name: str, bindings: Any) -> dict[str, str]:
    if not isinstance(bindings, Mapping):
        raise ConfigurationError(
            f"dimension {label!r}, {name!r}: must be a dictionary of Gin names and values, got {bindings!r}"
        )
    return {key: gin_text(value) for key, value in bindings.items()}


def _labels(values: Sequence[Any]) -> list[str]:
    short = [_short(gin_text(value)) for value in values]
    return short if len(set(short)) == len(short) else [gin_text(value) for value in values]


def _short(text: str) -> str:
    """The last name of references such as `@nodes.dwn` and `@encoders.gray()`; other text without its quotes."""
    if text.startswith("@"):
        return text.removesuffix("()").rsplit(".", 1)[-1].lstrip("@")
    return text.strip("'\"")


def _range(label: str, text: str) -> Range:
    known = "uniform(low, high), log_uniform(low, high), integers(low, high)"
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        kind, (low, high) = call.func.id, map(ast.literal_eval, call.args)
        integer, log = kind == "integers", kind == "log_uniform"
        valid = kind in ("uniform", "log_uniform", "integers") and low < high and not (log and low <= 0)
        if not valid or (integer and not (isinstance(low, int) and isinstance(high, int))):
            raise ValueError
    except (AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigurationError(f"dimension {label!r}: {text!r} is none of {known} with low < high") from error
    return Range(label, low, high, log, integer)
