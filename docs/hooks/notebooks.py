"""Shows each notebook as a page of the site, from which it can be downloaded."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """The files of the site, and a page for each notebook."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        path = Path(notebook.abs_src_path)
        text = f"{markdown(path)}\n[Download this notebook]({path.name}){{ download }}\n"
        files.append(File.generated(config, notebook.src_uri.replace(".ipynb", ".md"), content=text))
    return files


def on_page_markdown(text: str, **_: Any) -> str:
    """A page whose links to notebooks lead to their pages, except where they are to be downloaded."""
    return re.sub(r"\.ipynb\)(?!\{ download \})", ".md)", text)


def markdown(path: Path) -> str:
    """A notebook's cells as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join(map(_cell, cells))


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"]).strip()
    return f"```python\n{source}\n```\n" if cell["cell_type"] == "code" else f"{source}\n"
