"""Checks what is bound to parameters against their annotations, so that a wrong kind of value stops no job half-way."""

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, isclass, signature
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from gin.config import ConfigurableReference, register_finalize_hook

from difflut.config.errors import ConfigurationError

WORDS = {int: "a whole number", float: "a number", str: "text in quotes", bool: "True or False", NoneType: "None"}
Bindings = Mapping[tuple[str, str], Mapping[str, Any]]  # by scope and Gin name, the values by parameter


@register_finalize_hook
def check_bindings(bindings: Bindings) -> None:
    """Checks all that a configuration binds, used or not. What an annotation does not say in classes is let pass.

    Raises:
        ConfigurationError: A value is not what its parameter takes.
    """
    for (scope, name), values in bindings.items():
        parameters = signature(ConfigurableReference(name, evaluate=False).configurable.wrapped).parameters
        for key in [key for key in values if key in parameters]:
            value, annotation = _resolved(values[key], bindings), parameters[key].annotation
            if not _fits(value, annotation, bindings):
                # A component has its kind before its name, a job the Python module, which no Gin file says.
                short = name if name.count(".") == 1 else name.rpartition(".")[2]
                where = f"{scope}/{short}" if scope else short
                raise ConfigurationError(f"{where}.{key} = {value!r} must be {_words(annotation)}")


def _resolved(value: Any, bindings: Bindings) -> Any:
    """The value of a macro, and anything else as it is."""
    is_macro = isinstance(value, ConfigurableReference) and value.config_key[1] == "gin.macro"
    return _resolved(bindings[value.config_key]["value"], bindings) if is_macro else value


def _fits(value: Any, annotation: Any, bindings: Bindings) -> bool:
    value, kind, inner = _resolved(value, bindings), get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return any(_fits(value, one, bindings) for one in inner)
    if kind is Callable:
        return _makes(value, *inner[1:]) if isinstance(value, ConfigurableReference) else callable(value)
    if not isclass(kind) or kind in (Any, Parameter.empty):
        return True
    if isinstance(value, ConfigurableReference):
        made = _made(value)
        return value.evaluate and (made is None or issubclass(made, kind))
    if isinstance(value, bool | str) and kind is not type(value):
        return False  # though True is an int to Python, and text a sequence
    if not isinstance(value, {float: int | float, tuple: list | tuple}.get(kind, kind)):
        return False
    if kind is tuple and inner and inner[-1] is not ...:
        return len(value) == len(inner) and all(map(_fits, value, inner, [bindings] * len(inner)))
    if isinstance(value, Iterable) and inner:
        items = value.values() if isinstance(value, Mapping) else value
        return all(_fits(item, inner[isinstance(value, Mapping)], bindings) for item in items)
    return True


def _made(reference: ConfigurableReference) -> type | None:
    """The class of what a call of `@name` gives, if it is known."""
    target = reference.configurable.wrapped
    made = target if isclass(target) else signature(target).return_annotation
    return made if isclass(made) and made not in (Any, Parameter.empty) else None


def _makes(reference: ConfigurableReference, wanted: Any = Any) -> bool:
    """Whether `@name` makes what is wanted, or `@name()` gives a function that may."""
    made = _made(reference)
    if made is None or not isclass(wanted) or wanted is Any:
        return True
    return reference.evaluate != (issubclass(made, wanted) or issubclass(wanted, made))


def _words(annotation: Any) -> str:
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return " or ".join(map(_words, inner))
    if kind is Callable:
        made = inner[1].__name__ if inner and isclass(inner[1]) else "Any"
        return "the @NAME of a function" if made == "Any" else f"the @NAME of what makes {made}s"
    if issubclass(kind, Mapping):
        return "a dictionary"
    if kind is tuple and inner and inner[-1] is not ...:
        return f"({', '.join(map(_words, inner))})"
    if issubclass(kind, Iterable) and kind is not str:
        return f"a list, each item {_words(inner[0])}" if inner else "a list"
    return WORDS.get(kind, f"one of the {kind.__name__}s, as @NAME()")
