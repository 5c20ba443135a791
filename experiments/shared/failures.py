"""Errors told in a line, and work whose failure costs nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager


class JobError(RuntimeError):
    """A job did its work with a bad result, which one line tells."""


class MismatchError(JobError):
    """A back end computes something else than the network."""


def in_a_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def optional(what: str) -> Iterator[None]:
    """A failure inside ends this block and nothing else, and a line says what was left out and why.

    It surrounds extras such as pictures, whose failure must not cost the result.
    """
    try:
        yield
    except Exception as error:
        print(f"{what}: left out ({in_a_line(error)})", flush=True)
