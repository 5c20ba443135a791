"""The figures of a report, each as PNG and as SVG."""

from experiments.report.figures.cost import accuracy_against as accuracy_against
from experiments.report.figures.curves import learning_curves as learning_curves
from experiments.report.figures.dimension import by_number as by_number
from experiments.report.figures.dimension import by_value as by_value
from experiments.report.figures.parallel import parallel_coordinates as parallel_coordinates
