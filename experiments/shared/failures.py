"""Errors told in a line, and work whose failure costs nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager


class JobError(RuntimeError):
    """What a job that did its work came to, where a line says all of it."""


class MismatchError(JobError):
    """A back end computes something else than the network."""


def in_a_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def optional(what: str) -> Iterator[None]:
    """Within, a failure ends the block and nothing else, and a line says what was left out and why.

    It surrounds what comes on top of a result, such as pictures: whatever goes wrong there must not cost the result.
    """
    try:
        yield
    except Exception as error:
        print(f"{what}: left out ({in_a_line(error)})", flush=True)
