"""Training and evaluation of LUT networks."""

from difflut.training.augmentations import AUGMENTATIONS as AUGMENTATIONS
from difflut.training.evaluation import evaluate as evaluate
from difflut.training.evaluation import predict as predict
from difflut.training.evaluation import table_statistics as table_statistics
from difflut.training.losses import LOSSES as LOSSES
from difflut.training.schedules import OPTIMIZERS as OPTIMIZERS
from difflut.training.schedules import SCHEDULES as SCHEDULES
from difflut.training.teachers import TEACHERS as TEACHERS
from difflut.training.teachers import Teacher as Teacher
from difflut.training.trainer import DivergedError as DivergedError
from difflut.training.trainer import Trainer as Trainer
