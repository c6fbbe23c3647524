"""`make notebooks`: run every notebook in place, and leave in the files what readers without a kernel need.

Figures and printed output stay, with their execution counts, and the pictures of widgets. What belongs to one
run alone goes: the state of widgets (megabytes), their views (blank without that state), and times.
"""

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
VIEW = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> None:
    """Run one notebook from its own folder and write it back."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, resources=resources, record_timing=False).execute()
    clean(notebook)
    nbformat.write(notebook, path)


def clean(notebook: Any) -> None:
    """Take out what only a running kernel can show."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [stored for output in cell.outputs if (stored := without_view(output))]


def without_view(output: Any) -> Any:
    """Return an output without the view of a widget: the picture beside it, or None if there is none."""
    if VIEW not in output.get("data", {}):
        return output
    pictures = {kind: data for kind, data in output.data.items() if kind.startswith("image/")}
    output.data = {**pictures, "text/plain": "(a widget: it moves in a running notebook)"}
    return output if pictures else None


if __name__ == "__main__":
    for place in [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb")):
        print(place.name)  # noqa: T201 - a script's output
        execute(place)
