"""Checks the arguments of components where they are called from Python, against the annotations of their parameters.

Only what is certainly wrong is refused: where the annotation is neither one of those below nor a class of ours, any
value passes. Where a parameter takes the class or function of a component, its registered name will do.
"""

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, Signature, formatannotation, isclass, signature
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from difflut.registry.components import INITIALIZERS, LOSSES, NODES, OPTIMIZERS
from difflut.registry.registry import UnknownComponentError

Target = TypeVar("Target", bound=Callable[..., Any])

# By the parameter that takes them, the components that may be given by name.
BY_NAME = {"node_type": NODES, "init_fn": INITIALIZERS, "optimizer": OPTIMIZERS, "loss": LOSSES}
WORDS: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    NoneType: "None",
}
LISTS = (list, tuple, Sequence, Iterable, Collection)
OURS = ("difflut.", "torch.")


class ArgumentError(TypeError, ValueError):
    """An argument is wrong: its name is unknown, its value does not fit, or it is missing."""


def checked(target: Target) -> Target:
    """A decorator: a function, or the constructor of a class, refuses arguments that do not fit its annotations.

    Raises:
        ArgumentError: A call has a wrong argument; the error names the function or class, the argument, its value and
            what it must be.
        TypeError: A call has too few or too many arguments.
    """
    if isclass(target):
        constructed: Any = target
        constructed.__init__ = checked_constructor(constructed.__init__)
        return target
    shape = signature(target)

    @wraps(target)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _checked(target.__name__, shape, args, kwargs)
        return target(*args, **kwargs)

    call.__signature__ = shape  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def checked_constructor(constructor: Callable[..., None], shape: Signature | None = None) -> Callable[..., None]:
    """An `__init__` that checks its arguments; errors name the class of what is made."""
    known = shape or signature(constructor)
    constructor.__signature__ = known  # type: ignore[attr-defined]  # where Gin looks for it

    @wraps(constructor)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        (_, *args), kwargs = _checked(type(self).__name__, known, (self, *args), kwargs)
        constructor(self, *args, **kwargs)

    return construct


def check_call(function: Callable[..., Any], positional: int, arguments: Mapping[str, Any]) -> None:
    """Checks keyword arguments with which a function will be called, after `positional` others.

    Raises:
        ArgumentError: It has no such arguments.
    """
    try:
        shape = signature(function)
    except (ValueError, TypeError):  # built-in functions have no signature
        return
    name = getattr(function, "__name__", type(function).__name__)
    parameters = list(shape.parameters.values())
    if not any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        shape = Signature([p.replace(annotation=Any) for p in parameters[:positional]] + parameters[positional:])
    _checked(name, shape, (None,) * positional, dict(arguments))


def _checked(name: str, shape: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    parameters = shape.parameters
    if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        known = [key for key in parameters if key != "self"]
        for key in kwargs.keys() - set(known):
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known) or 'none'}"
            raise ArgumentError(f"{name}: no argument is called {key!r}; {hint}")
    try:
        bound = shape.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(f"{name}: {error}") from error
    for key, value in bound.arguments.items():
        parameter = parameters[key]
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) or value is parameter.default:
            continue
        if isinstance(value, str) and key in BY_NAME:
            try:
                value = BY_NAME[key][value]
            except UnknownComponentError as error:
                raise ArgumentError(f"{name}: {key}={value!r}: {error}") from error
        try:
            bound.arguments[key] = _fitted(value, parameter.annotation)
        except _Misfit:
            shown = " ".join(repr(value).split())
            shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
            raise ArgumentError(f"{name}: {key}={shown} must be {_words(parameter.annotation, key)}") from None
    return bound.args, bound.kwargs


class _Misfit(Exception):
    pass


def _fitted(value: Any, annotation: Any) -> Any:
    """The value as it is meant: a number of numpy or torch as Python's own."""
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return _fitted_to_one(value, inner)
    if kind in WORDS:
        return _plain(value, kind)
    if kind is Literal:
        fits = any(type(value) is type(one) and value == one for one in inner)
    elif kind in (Mapping, dict):
        fits = isinstance(value, Mapping)
    elif kind in LISTS:
        fits = hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping) and _items_fit(value, inner)
    elif kind is Callable:
        fits = callable(value) and _makes(value, inner[1] if inner else Any)
    else:
        fits = not _is_ours(kind) or isinstance(value, kind)
    if not fits:
        raise _Misfit
    return value


def _fitted_to_one(value: Any, annotations: tuple[Any, ...]) -> Any:
    for annotation in annotations:
        try:
            return _fitted(value, annotation)
        except _Misfit:
            continue
    raise _Misfit


def _plain(value: Any, kind: type) -> Any:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    types = (int, float) if kind is float else (kind,)
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise _Misfit
    if kind is float and isinstance(value, int | float) and not math.isfinite(value):
        raise _Misfit
    return value


def _items_fit(values: Any, inner: tuple[Any, ...]) -> bool:
    if not inner or not hasattr(values, "__len__"):  # an iterator can be read only once
        return True
    if len(inner) > 1 and inner[-1] is not ... and len(values) != len(inner):
        return False
    kinds = inner if len(inner) > 1 and inner[-1] is not ... else inner[:1] * len(values)
    for value, kind in zip(values, kinds, strict=True):
        _fitted(value, kind)
    return True


def _makes(value: Any, kind: Any) -> bool:
    """Whether a call of the value may give such a kind: not where the value is one itself, or another class."""
    if not _is_ours(kind):
        return True
    return not isinstance(value, kind) and not (isclass(value) and not issubclass(value, kind))


def _is_ours(kind: Any) -> bool:
    return isclass(kind) and f"{kind.__module__}.".startswith(OURS) and not getattr(kind, "_is_protocol", False)


def _words(annotation: Any, key: str = "") -> str:
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(member, key) for member in inner))
    if kind in WORDS:
        return WORDS[kind]
    if kind is Literal:
        return " or ".join(map(repr, inner))
    if kind in (Mapping, dict):
        return "a mapping"
    if kind is tuple and inner and inner[-1] is not ...:
        return f"({', '.join(map(_words, inner))})"
    if kind in LISTS:
        return f"a list, each item {_words(inner[0])}" if inner and inner[0] is not Any else "a list"
    if kind is Callable:
        made = inner[1] if inner else Any
        named = f", or the name of {_article(BY_NAME[key].kind)}" if key in BY_NAME else ""
        return (f"what makes {_article(made.__name__)}" if isclass(made) and made is not Any else "a function") + named
    return _article(kind.__name__) if _is_ours(kind) else formatannotation(annotation)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
