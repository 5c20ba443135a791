"""Sweeps: many trainings that differ in what a Gin file says, on Ray Tune."""

from experiments.sweep.folder import Sweep as Sweep
from experiments.sweep.folder import Trial as Trial
from experiments.sweep.folder import tracking_key as tracking_key
