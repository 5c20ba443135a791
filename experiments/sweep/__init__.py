"""Sweeps: many trainings that differ in what a Gin file says, on Ray Tune."""

from experiments.trials import Sweep as Sweep
from experiments.trials import Trial as Trial
from experiments.trials import tracking_key as tracking_key
