from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar

import gin
import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

import experiments  # noqa: F401
from difflut import config
from difflut.encoders import Encoder
from difflut.layers import LayerConfig
from difflut.nodes import Node
from difflut.registry import JOBS

T = TypeVar("T")
Mode = StrEnum("Mode", ["FAST", "SLOW"])


class Named(Protocol):
    name: str


class Point(NamedTuple):
    x: int


class Options(TypedDict):
    x: int


@gin.register("takes", module="tests")
def takes(value):
    return value


@gin.register("makes", module="tests")
def makes():
    return None


gin.register("builtin", module="tests")(torch.relu)


@pytest.fixture
def bind(monkeypatch):
    """Parses a value for a parameter of an annotation; `@makes` gives what `made` says."""

    def parse(annotation: Any, value: str, made: Any = None, default: Any = None) -> None:
        monkeypatch.setitem(takes.__annotations__, "value", annotation)
        monkeypatch.setattr(takes, "__defaults__", (default,) if default is not None else None)
        monkeypatch.setitem(makes.__annotations__, "return", made)
        config.parse([], text=f"run.job = @train\ntests.takes.value = {value}\n")

    return parse


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Named, "'text'"),
        (Named, "@nodes.dwn"),
        (Options, "{'x': 1}"),
        (type[Node], "@nodes.dwn"),
        (type, "@nodes.dwn"),
        (Annotated[int, "x"], "3"),
        (object, "True"),
        (Hashable, "'text'"),
        (Any, "[1]"),
        (Literal["a"], "'a'"),
        ("Undefined", "3"),
        (T, "3"),
        (list[int], "(1, 2)"),
        (tuple[int, ...], "[1, 2]"),
        (list[list[int]], "[(1, 2), [3]]"),
        (list["T"], "[1]"),
        (list[T], "[1]"),
        (set[int], "[1, 2]"),
        (frozenset, "[1, 2]"),
        (Point, "(1,)"),
        (Path, "'runs'"),
        (Mode, "'fast'"),
        (torch.device, "'cpu'"),
        (complex, "'1j'"),
        (np.ndarray, "[1, 2]"),
        (ArrayLike, "[1, 2]"),
        (Tensor, "[1, 2]"),
        (Iterable[str], "{'a': 1}"),
        (Iterable[str], "('a', 'b')"),
        (Mapping[str, list[int]], "{'a': (1,)}"),
        (float, "1"),
        (int | Any, "'text'"),
        (Callable, "@tests.builtin"),
        (Callable[..., Node], "@tests.builtin"),
    ],
    ids=str,
)
def test_what_is_not_certainly_wrong_passes(bind, annotation, value):
    bind(annotation, value)


@pytest.mark.parametrize(
    ("annotation", "value", "made"),
    [
        (float, "@tests.makes()", int),
        (float, "@tests.makes()", np.float32),
        (Path, "@tests.makes()", str),
        (Encoder, "@tests.makes()", nn.Module),
        (Encoder, "@tests.makes()", Named),
        (Encoder, "@tests.makes()", Any),
        (Sequence[int], "@tests.makes()", np.ndarray),
        (Callable[..., Node], "@tests.makes()", Callable),
        (Callable[..., Node], "@tests.makes()", Callable[..., Node]),
        (Callable[..., Node], "@tests.makes", nn.Module),
        (Callable[..., float], "@tests.makes", int),
        (Callable[..., Named], "@tests.makes", Node),
        (Callable[..., object], "@tests.makes()", Node),
    ],
    ids=str,
)
def test_what_a_reference_makes_may_be_annotated_more_widely(bind, annotation, value, made):
    bind(annotation, value, made)


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (int, "1.5", "1.5 must be a whole number"),
        (int, "@tests.makes", "@tests.makes must be a whole number"),
        (int, "@network()", "@network() must be a whole number"),
        (float, "'1'", "'1' must be a number"),
        (str, "None", "None must be text in quotes"),
        (bool, "0", "0 must be True or False"),
        (bool | Literal["a"], "'b'", "'b' must be True or False or 'a'"),
        (Encoder, "'gray'", "'gray' must be one of the Encoders, as @NAME()"),
        (Encoder, "@tests.makes()", "@tests.makes() must be one of the Encoders, as @NAME()"),
        (nn.Module, "'relu'", "'relu' must be one of the Modules, as @NAME()"),
        (LayerConfig | Mapping[str, Any] | None, "3", "3 must be one of the LayerConfigs, as @NAME() or a dictionary"),
        (Callable, "3", "3 must be the @NAME of a function"),
        (Callable[..., Any], "None", "None must be the @NAME of a function"),
        (Callable[..., Tensor], "@network", "@network must be the @NAME of what makes Tensors"),
        (Sequence[str], "'dwn'", "'dwn' must be a list, each item text in quotes"),
        (Iterable[int], "{'a': 1}", "{'a': 1} must be a list, each item a whole number"),
        (Mapping[str, int], "{'a': 'b'}", "{'a': 'b'} must be a dictionary"),
        (dict[str, int], "[1]", "[1] must be a dictionary"),
        (list[list[int]], "[1]", "[1] must be a list, each item a list, each item a whole number"),
        (tuple[int, str], "(1,)", "(1,) must be (a whole number, text in quotes)"),
        (list["T"], "3", "3 must be a list, each item "),
        (list[T], "3", "3 must be a list, each item ~T"),
        (Sequence[Literal["a", "b"]], "'a'", "'a' must be a list, each item 'a' or 'b'"),
        (list[Any], "3", "3 must be a list"),
        (list[Path], "3", "3 must be a list, each item Path"),
    ],
    ids=str,
)
def test_what_is_certainly_wrong_is_told_in_words(bind, annotation, value, said):
    with pytest.raises(config.ConfigurationError) as error:
        bind(annotation, value, made=int)
    assert f"tests.takes.value = {said}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("annotation", "value", "default"),
    [(list[int], "'all'", "all"), (int, "'auto'", "auto"), (int, "0.5", 0.5), (Encoder, "'gray'", "gray")],
    ids=str,
)
def test_a_default_passes_whatever_the_annotation_says_and_its_equal_of_another_kind_does_not(
    bind, annotation, value, default
):
    bind(annotation, value, default=default)
    with pytest.raises(config.ConfigurationError, match=r"tests\.takes\.value"):
        bind(annotation, value, default=object())
    with pytest.raises(config.ConfigurationError, match=r"tests\.takes\.value = True must be a whole number"):
        bind(int, "True", default=1)


@pytest.fixture
def users_job():
    """A job whose defaults are not of the kinds that its annotations name, in a module that is in no package."""

    def mine(alpha: float = None, sizes: list[int] = (1, 2), folder: Path = "runs", number: int = 3):  # noqa: RUF013
        return alpha, sizes, folder, number

    mine.__module__ = "userjobs"
    gin.clear_config()
    JOBS.register("mine", replace=True)(mine)
    yield
    del JOBS._components["mine"]


def test_the_configuration_of_a_users_job_repeats_it(users_job):
    config.parse([], text="run.job = @mine")
    first = config.run()
    config.parse([], text=config.operative_config())
    assert config.run() == first == (None, (1, 2), "runs", 3)


def test_a_users_job_goes_by_its_name_without_its_module(users_job):
    with pytest.raises(config.ConfigurationError, match=r"^mine\.number = 'x' must be a whole number"):
        config.parse([], text="run.job = @mine\nmine.number = 'x'")
    with pytest.raises(config.ConfigurationError, match=r"^scope/mine\.number = 'x' must be a whole number"):
        config.parse([], text="run.job = @mine\nscope/mine.number = 'x'")


@pytest.mark.parametrize("macros", ["A = %A", "A = %B\nB = %A", "A = %B\nB = %C\nC = %B"])
@pytest.mark.parametrize("use", ["", "\ntrain.epochs = %A"])
def test_macros_that_stand_for_themselves_are_named(macros, use):
    with pytest.raises(config.ConfigurationError, match=r"^the macro %[ABC] stands for itself; bind a value to it"):
        config.parse([], text=f"run.job = @train\n{macros}{use}")


@pytest.mark.parametrize("job", ["@mine", "%JOB\nJOB = @mine", "%JOB\nJOB = %OTHER\nOTHER = @scope/mine"])
def test_a_job_may_be_a_macro(users_job, job):
    config.parse([], text=f"run.job = {job}")
    assert config.run()[-1] == 3


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("@train()", r"run\.job = @train\(\) must be @train, without the parentheses"),
        ("@short/train()", r"run\.job = @short/train\(\) must be @short/train, without the parentheses"),
        ("%JOB\nJOB = @train()", r"run\.job = @train\(\) must be @train, without the parentheses"),
        ("%JOB\nJOB = @network", r"run\.job = @network: this is no job; known: ablate, "),
        ("%JOB\nJOB = 3", r"run\.job = 3 must be the @NAME of a function"),
    ],
)
def test_what_is_no_job_is_refused(job, said):
    with pytest.raises(config.ConfigurationError, match=f"^{said}"):
        config.parse([], text=f"run.job = {job}")
