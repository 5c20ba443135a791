"""The jobs that `run.py` runs. Every module is imported here, so that any Gin file finds every name."""

from experiments import benchmark as benchmark
from experiments import dashboard as dashboard
from experiments import evaluate as evaluate
from experiments import export as export
from experiments import inference as inference
from experiments import papers as papers
from experiments import publish as publish
from experiments import report as report
from experiments import reproduce as reproduce
from experiments import train as train
from experiments import verify as verify
from experiments.failures import JobError as JobError
from experiments.listing import description as description
from experiments.listing import listing as listing
from experiments.sweep import ablate as ablate
