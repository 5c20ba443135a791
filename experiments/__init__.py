"""The jobs that `run.py` runs. Every job's module is imported here, so that any Gin file finds every name."""

import experiments.benchmark.benchmark
import experiments.benchmark.scaling
import experiments.benchmark.tabular
import experiments.export.export
import experiments.export.publish
import experiments.inference.inference
import experiments.report.dashboard
import experiments.report.report
import experiments.reproduction.papers
import experiments.reproduction.reproduce
import experiments.sweep.ablate
import experiments.training.combine
import experiments.training.evaluate
import experiments.training.train
import experiments.verification.verify
from experiments.catalogue import description as description
from experiments.catalogue import listing as listing
from experiments.shared.failures import JobError as JobError
