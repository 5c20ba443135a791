"""Training and evaluation of LUT networks."""

import sys

from difflut.registry import import_submodules
from difflut.training.evaluation import evaluate as evaluate
from difflut.training.evaluation import predict as predict
from difflut.training.evaluation import table_statistics as table_statistics
from difflut.training.teachers import Teacher as Teacher
from difflut.training.trainer import DivergedError as DivergedError
from difflut.training.trainer import Trainer as Trainer

import_submodules(sys.modules[__name__])
