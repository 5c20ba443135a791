"""The error of a wrong configuration."""


class ConfigurationError(ValueError):
    """A Gin file or parameter names something that does not exist, or gives a value that is not allowed."""


def reason(error: Exception) -> str:
    """The message of an error, without the functions through which it passed, which Gin appends."""
    return str(error).partition("\n  In call to configurable")[0]
