from pathlib import Path

import pytest

import experiments  # noqa: F401
from difflut import config
from experiments.data import kept_rows

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "gin_configs" / "ablations").glob("*.gin"))


class Checked(Exception):
    """Ends a sweep when all of its trials are checked."""


@pytest.fixture(scope="module")
def data():
    with kept_rows({}) as rows:
        yield rows


@pytest.mark.parametrize("path", [*FILES, ROOT / "gin_configs" / "curves_digits.gin"], ids=lambda path: path.stem)
def test_every_trial_of_a_ready_made_sweep_can_be_built(path, data, monkeypatch, capsys):
    from experiments.sweep import ablate as module

    def connected(address):
        raise Checked

    monkeypatch.setattr(module, "connected", connected)
    monkeypatch.setattr(module, "kept_rows", lambda rows: kept_rows(data))
    # Narrow, so that learnable wiring among all inputs is quickly built.
    small = ["WIDTH = 200"] if path in FILES and "'WIDTH'" not in path.read_text() else []
    config.parse([str(path)], ['dataset.name = "digits"', *small])
    with pytest.raises(Checked):
        config.run()
    assert " tables " in capsys.readouterr().out


def test_each_names_its_folder_after_itself_and_says_how_to_run_it_on_digits():
    for path in FILES:
        text = path.read_text()
        assert f'ablate.name = "{path.stem}"' in text
        assert f"{path.name} --gin_param 'dataset.name = \"digits\"'" in text
