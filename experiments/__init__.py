"""The jobs that `run.py` runs. Every module is imported here, so that any Gin file finds every name."""

from experiments import benchmark as benchmark
from experiments import evaluate as evaluate
from experiments import export as export
from experiments import train as train
from experiments.listing import listing as listing
