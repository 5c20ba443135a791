"""Names that a job is given, checked before it starts."""

from collections.abc import Iterable

from difflut.config import ConfigurationError


def check_names(argument: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Checks the names that an argument lists.

    Raises:
        ConfigurationError: One is not known.
    """
    known = list(known)
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(f"{argument}: there is no {unknown[0]!r}; known: {', '.join(known)}")
