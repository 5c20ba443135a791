import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def identity(path):
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=identity)
def test_a_notebook_runs_from_its_first_cell_to_its_last(path, tmp_path):
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=identity)
def test_a_notebook_is_kept_without_outputs_and_installs_first(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    assert "%pip install -q --find-links . difflut" in "".join(cells[0]["source"])
