"""The error of a wrong configuration."""


class ConfigurationError(ValueError):
    """A Gin file or parameter names something that does not exist, or gives a value that is not allowed."""
