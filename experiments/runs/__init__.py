"""The folders of runs and of sweeps: what lies in them, and reading and writing it."""

from experiments.runs.folder import RunFolder as RunFolder
from experiments.runs.folder import TrialRun as TrialRun
from experiments.runs.folder import dataset_of as dataset_of
from experiments.runs.sweep import STATES as STATES
from experiments.runs.sweep import Sweep as Sweep
from experiments.runs.sweep import Trial as Trial
from experiments.runs.sweep import tracking_key as tracking_key
