"""Checks bound values against the annotations of their parameters, so that a wrong one stops no job half-way.

Only what is certainly wrong is refused: an annotation that is none of those below, nor a class of ours, takes anything.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature, formatannotation, isclass, signature
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import gin
from gin.config import ConfigurableReference, register_finalize_hook

from difflut.config.errors import ConfigurationError

# For each annotation the types of literals that it takes, and their name. To Python text is a sequence and True is a
# number: here they are not. Lists and tuples are the same here.
LITERALS = {
    bool: ((bool,), "True or False"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text in quotes"),
    NoneType: ((NoneType,), "None"),
    dict: ((dict,), "a dictionary"),
    Mapping: ((dict,), "a dictionary"),
    list: ((list, tuple), "a list"),
    tuple: ((list, tuple), "a list"),
    Sequence: ((list, tuple), "a list"),
    Iterable: ((list, tuple, dict), "a list"),
}
# Where the classes are defined that no literal can stand for.
OURS = ("difflut.", "torch.nn.", "torch.optim.")


def check_bindings(bindings: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    """Checks all that a configuration binds, used or not.

    Args:
        bindings: Values by scope and Gin name, and by parameter.

    Raises:
        ConfigurationError: A value is not what its parameter takes.
    """
    for (scope, name), values in bindings.items():
        component = ConfigurableReference(name, evaluate=False).configurable.wrapped
        parameters = _signature(component).parameters
        for key in [key for key in values if key in parameters]:
            value, parameter = resolved(values[key]), parameters[key]
            if not (_fits(value, parameter.annotation) or _is_default(value, parameter)):
                # A component is named by its kind, any other function by its Python module, which no Gin file mentions.
                short = name.removeprefix(f"{component.__module__}.")
                where = f"{scope}/{short}" if scope else short
                raise ConfigurationError(f"{where}.{key} = {value!r} must be {_words(parameter.annotation)}")


register_finalize_hook(check_bindings)


def resolved(value: Any) -> Any:
    """The value of a macro; any other value is returned as it is.

    Raises:
        ConfigurationError: The macro is defined by itself.
    """
    passed = []
    while isinstance(value, ConfigurableReference) and value.config_key[1] == "gin.macro":
        if value.scoped_selector in passed:
            raise ConfigurationError(f"the macro {value} stands for itself; bind a value to it")
        passed.append(value.scoped_selector)
        value = gin.query_parameter(f"{value.scoped_selector}.value")
    return value


def _is_default(value: Any, parameter: Parameter) -> bool:
    """Whether a value is the default. A default may be of another kind, and the config.gin of a run repeats it."""
    return type(value) is type(parameter.default) and value == parameter.default


def _fits(value: Any, annotation: Any) -> bool:
    value, kind, inner = resolved(value), get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return any(_fits(value, member) for member in inner)
    if kind is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if kind is Callable:
        return isinstance(value, ConfigurableReference) and _makes(value, *inner[1:])
    if not isclass(kind) or not (kind in LITERALS or _is_ours(kind)):
        return True
    if isinstance(value, ConfigurableReference):
        return value.evaluate and _may_be(_made(value), kind)
    return kind in LITERALS and type(value) in LITERALS[kind][0] and _items_fit(value, kind, inner)


def _items_fit(values: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    if not inner:
        return True
    if kind is tuple and inner[-1] is not ...:
        return len(values) == len(inner) and all(map(_fits, values, inner))
    if kind in (dict, Mapping):
        values, inner = values.values(), inner[1:]
    return all(_fits(value, inner[0]) for value in values)


def _makes(reference: ConfigurableReference, kind: Any = Any) -> bool:
    """Whether `@name` may make such a kind, or `@name()` give a function that does."""
    result = _made(reference)
    if reference.evaluate:  # what gives the kind itself gives no function that makes it
        return not (_is_ours(kind) and _is_a(result, kind))
    return _may_be(result, kind)


def _made(reference: ConfigurableReference) -> Any:
    """The class of what a call of `@name` gives."""
    target = reference.configurable.wrapped
    return target if isclass(target) else _signature(target).return_annotation


def _may_be(result: Any, kind: Any) -> bool:
    """Whether a result of this annotation may be of that kind; the annotation may be the more general one."""
    return _is_a(result, kind) is not False or _is_a(kind, result) is not False


def _is_a(kind: Any, parent: Any) -> bool | None:
    """Whether one class is a kind of the other; None where that is not known, or neither is ours."""
    kinds = (kind, parent)
    if not all(map(isclass, kinds)) or not any(map(_is_ours, kinds)) or Any in kinds or Signature.empty in kinds:
        return None
    try:
        return issubclass(kind, parent)
    except TypeError:  # the other is a protocol
        return None


def _is_ours(kind: Any) -> bool:
    return isclass(kind) and kind.__module__.startswith(OURS)


def _signature(target: Any) -> Signature:
    try:
        return signature(target)
    except (ValueError, TypeError):  # what is built in has none
        return Signature()


def _words(annotation: Any) -> str:
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return " or ".join(map(_words, inner))
    if kind is Literal:
        return " or ".join(map(repr, inner))
    if kind is Callable:
        known = inner and isclass(inner[1]) and inner[1] is not Any
        return f"the @NAME of what makes {inner[1].__name__}s" if known else "the @NAME of a function"
    if _is_ours(kind):
        return f"one of the {kind.__name__}s, as @NAME()"
    if not isclass(kind) or kind not in LITERALS:
        return kind.__name__ if isclass(kind) and not inner else formatannotation(annotation)
    if kind is tuple and inner and inner[-1] is not ...:
        return f"({', '.join(map(_words, inner))})"
    word = LITERALS[kind][1]
    return f"{word}, each item {_words(inner[0])}" if inner and inner[0] is not Any and word == "a list" else word
