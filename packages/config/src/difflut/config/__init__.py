"""Gin configuration: every component and job of DiffLUT under its name.

This is the only package that imports Gin. Components stay untouched by it: called from Python they take their own
defaults; only what a Gin file names is bound.
"""

from difflut.config.components import configurable as configurable
from difflut.config.components import gin_names as gin_names
from difflut.config.errors import ConfigurationError as ConfigurationError
from difflut.config.files import bundled_files as bundled_files
from difflut.config.files import look_in as look_in
from difflut.config.jobs import run as run
from difflut.config.parsing import bound as bound
from difflut.config.parsing import operative_config as operative_config
from difflut.config.parsing import overridden as overridden
from difflut.config.parsing import parse as parse
from difflut.config.parsing import parsed_config as parsed_config
from difflut.config.parsing import plain as plain
from difflut.config.parsing import read_bindings as read_bindings
from difflut.config.statements import differences as differences
from difflut.config.statements import meanings as meanings
from difflut.config.statements import without as without
