"""Arguments of jobs, checked before any work starts."""

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from difflut.config import ConfigurationError
from difflut.registry import JOBS, UnknownComponentError

MAX_LUT_SIZE = 12  # inputs; such a table has 4,096 entries, more than hardware saves by it


@contextmanager
def configured() -> Iterator[None]:
    """Inside, an error about a value, a name or a file becomes an error of the configuration, told in one line.

    It surrounds the code that reads the configuration, not the work of a job, whose errors need their tracebacks.

    Raises:
        ConfigurationError: A ValueError, UnknownComponentError or OSError was raised inside.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        raise ConfigurationError(said) from error
    except (ValueError, UnknownComponentError) as error:
        raise ConfigurationError(str(error)) from error


def check_names(argument: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Checks the names that an argument lists.

    Raises:
        ConfigurationError: One is not known.
    """
    known = list(known)
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(f"{argument}: there is no {unknown[0]!r}; known: {', '.join(known)}")


def check_effect(job: str, values: Mapping[str, Any], reason: str) -> None:
    """Refuses arguments of a job that can have no effect, unless they are as they are by default.

    Args:
        job: Name of the job.
        values: Values by argument.
        reason: Reason why they have none, as the end of "has no effect …".

    Raises:
        ConfigurationError: One of them was given.
    """
    for argument, parameter in inspect.signature(JOBS[job]).parameters.items():
        value, default = values.get(argument, parameter.default), parameter.default
        if (tuple(value) if isinstance(value, list) else value) != default:
            raise ConfigurationError(f"{job}.{argument} = {value!r} has no effect {reason}; leave it at {default!r}")


def check_name(argument: str, name: str) -> None:
    """Checks what names a folder, and what others type.

    Raises:
        ConfigurationError: It is empty or long, or has characters that paths, shells or W&B do not take as they are.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{,99}", name):
        raise ConfigurationError(
            f"{argument} = {name!r} must be 1 to 100 letters, digits, dots, hyphens and underscores, the first one a "
            "letter or a digit, such as 'mnist-4000'"
        )


def check_some(argument: str, values: Any) -> None:
    """Checks a list of which one item at least is needed.

    Raises:
        ConfigurationError: It is no list, or empty.
    """
    if not isinstance(values, Sequence) or len(values) == 0:
        raise ConfigurationError(f"{argument} must be a list of at least one item; got {values!r}")


def check_whole(argument: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Checks a number that counts something.

    Raises:
        ConfigurationError: It is not whole, or outside its bounds.
    """
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigurationError(f"{argument} must be a whole number, {bounds}; got {value!r}")


def check_seed(argument: str, value: Any) -> None:
    """Checks a seed, which NumPy's generators take too.

    Raises:
        ConfigurationError: It is not whole, or outside their bounds.
    """
    check_whole(argument, value, least=0, most=2**32 - 1)


def check_wholes(argument: str, values: Any) -> None:
    """Checks a list of numbers that count something.

    Raises:
        ConfigurationError: It is no list, is empty, or one of them is wrong.
    """
    check_some(argument, values)
    for value in values:
        check_whole(argument, value)


def check_lut_size(argument: str, value: Any) -> None:
    """Checks how many inputs a table may have after simplification.

    Raises:
        ConfigurationError: It is not whole, or so large that tables would be larger than what they save.
    """
    check_whole(argument, value, most=MAX_LUT_SIZE)


def check_seconds(argument: str, value: Any) -> None:
    """Checks a time.

    Raises:
        ConfigurationError: It is no number, or below 0.
    """
    if not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(f"{argument} must be a number of seconds, 0 or more; got {value!r}")


def check_folder(argument: str, folder: Path) -> None:
    """Checks that a job will be able to write into a folder, which need not be there yet.

    Raises:
        ConfigurationError: It cannot be made, or nothing can be written there.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ConfigurationError(f"{argument} = {str(folder)!r} cannot be a folder, as {there} is a file; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"{argument} = {str(folder)!r}: nothing can be written to {there}; name another folder"
        )


def check_gpus(argument: str, count: int, device: str) -> None:
    """Checks that each of several processes of this machine has a GPU, where they do not train on the CPU.

    Raises:
        ConfigurationError: There are fewer.
    """
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if gpus and count > gpus:
        raise ConfigurationError(f"{argument} = {count}, and there are {gpus} GPUs here")


def device_named(argument: str, name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises:
        ConfigurationError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    known = ["auto", "cpu", *(["cuda", *gpus] if gpus else [])]
    if name not in known:
        raise ConfigurationError(f"{argument}: there is no {name!r} here; known: {', '.join(known)}")
    return torch.device(name)
