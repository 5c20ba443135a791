import numpy as np
import pytest

from difflut import config
from difflut.config import ConfigurationError
from experiments.benchmark.tabular_sets import tabular_sets


def test_a_forest_and_a_network_are_compared_on_every_set_that_is_named(tmp_path, capsys):
    text = 'run.job = @tabular\ntabular.sets = ["iris"]\ntabular.splits = 1\n'
    config.parse([], text=text + f'tabular.runs = "{tmp_path}"\n')
    (row,) = config.run()
    assert (row["set"], row["rows"], row["columns"], row["classes"]) == ("iris", 150, 4, 3)
    assert min(row["forest"], row["ours"]) > 85 and min(row["forest_seconds"], row["our_seconds"]) > 0
    (report,) = tmp_path.glob("*/report.md")
    line = next(line for line in report.read_text().splitlines() if line.startswith("| iris"))
    assert f"{row['ours'] - row['forest']:+.1f}" in line
    assert "means of 1" in report.read_text() and str(report) in capsys.readouterr().out


def test_unknown_sets_are_told_by_name():
    config.parse([], text='run.job = @tabular\ntabular.sets = ["iriss"]\n')
    with pytest.raises(ConfigurationError, match=r"tabular\.sets: there is no 'iriss'; known: .*iris"):
        config.run()


@pytest.mark.parametrize("name", tabular_sets())
def test_every_set_is_made_alike_twice_and_has_rows_of_each_class_to_split(name):
    (x, y), (again, _) = tabular_sets()[name](), tabular_sets()[name]()
    assert np.array_equal(x, again) and np.isfinite(x).all() and len(x) == len(y)
    assert np.unique(y, return_counts=True)[1].min() >= 5
