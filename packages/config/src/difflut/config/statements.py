"""What Gin text binds, as values that can be compared; nothing here changes the present configuration."""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gin.config_parser import BindingStatement, ConfigParser

from difflut.config.components import gin_names


@dataclass(frozen=True)
class Reference:
    """A reference, `@a/nodes.dwn` or `@network()`, or a macro, `%TAU`, by its full name."""

    text: str

    @property
    def name(self) -> str:
        """The name that it refers to, without scope."""
        return self.text.strip("@%()").rpartition("/")[2]

    def __repr__(self) -> str:
        return self.text


class _References:
    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference:
        return Reference(f"@{_full(scoped_configurable_name)}{'()' * evaluate}")

    def macro(self, macro_name: str) -> Reference:
        return Reference(f"%{macro_name}")


def statements(text: str) -> dict[str, Any]:
    """The values of all bindings by full name, such as `a/layers.random.n`, and of all macros."""
    values = {}
    for statement in ConfigParser(text, _References()):
        if isinstance(statement, BindingStatement):
            owner = f"{statement.scope}/{statement.selector}" if statement.scope else statement.selector
            values[f"{_full(owner)}.{statement.arg_name}" if statement.arg_name else owner] = statement.value
    return values


def meanings(text: str) -> dict[str, Any]:
    """The values of all bindings by full name, with macros replaced by what they stand for, and tuples as lists."""
    bound = statements(text)
    return {name: _meaning(value, bound) for name, value in bound.items() if "." in name}


def _full(name: str) -> str:
    """The full name of a short one, `a/layers.random` of `a/random`.

    Gin takes, and writes, the end of a name where no other name ends in the same way.
    """
    scope, slash, selector = name.rpartition("/")
    ending = [known for known in gin_names() if f".{known}".endswith(f".{selector}")]
    return f"{scope}{slash}{ending[0] if len(ending) == 1 else selector}"


def references(value: Any) -> Iterator[Reference]:
    """All references in a value, at any depth."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Mapping):
        for item in (*value, *value.values()):
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def differences(then: str, now: str) -> dict[str, tuple[Any, Any]]:
    """The bindings whose meaning differs between two texts, by name: their values then and now.

    A macro means its value, a parameter that is not bound its default, and a tuple is as good as a list.
    """
    old, new = statements(then), statements(now)
    names = [name for name in {**old, **new} if "." in name]
    pairs = {name: tuple(_meaning(values.get(name, _default(name)), values) for values in (old, new)) for name in names}
    return {name: (before, after) for name, (before, after) in pairs.items() if before != after}


def without(text: str, name: str) -> str:
    """Text that Gin wrote, less one binding."""
    return re.sub(rf"^{re.escape(name)} = .*\n(?: .*\n)*", "", text, flags=re.MULTILINE)


def _meaning(value: Any, bound: Mapping[str, Any]) -> Any:
    if isinstance(value, Reference) and value.text.startswith("%") and value.text[1:] in bound:
        return _meaning(bound[value.text[1:]], bound)
    if isinstance(value, Mapping):
        return {key: _meaning(item, bound) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_meaning(item, bound) for item in value]
    return value


def _default(name: str) -> Any:
    component, _, parameter = name.rpartition("/")[2].rpartition(".")
    known = gin_names()
    parameters = inspect.signature(known[component]).parameters if component in known else {}
    if parameter not in parameters:
        return None
    default = parameters[parameter].default
    named = (Reference(f"@{name}") for name, other in known.items() if other is default)
    return None if default is inspect.Parameter.empty else next(named, default)
