"""The error of a wrong configuration."""


class ConfigurationError(ValueError):
    """A Gin file or parameter that names something which does not exist, or gives a value that cannot be."""
