"""The notebooks as files: small, run, and readable without a kernel (`make test` also runs them)."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
MOST_BYTES = 500_000
MACHINE = re.compile(
    r"(/home/|/root|/work/|/tmp/|/Users/|[A-Z]:\\\\|site-packages|https?://(localhost|127\.))"
)
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.While, ast.If, ast.Try)


@cache
def read(name: str) -> Any:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code(name: str) -> list[Any]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def test_they_are_numbered_without_a_gap() -> None:
    assert [int(name[:2]) for name in NAMES] == [*range(1, 9)]


@pytest.mark.parametrize("name", NAMES)
def test_small_and_free_of_widget_state(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert len(text) < MOST_BYTES
    assert "application/vnd.jupyter.widget" not in text
    assert set(read(name).metadata) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("name", NAMES)
def test_run_from_top_to_bottom_without_an_error(name: str) -> None:
    assert [cell.execution_count for cell in code(name)] == list(range(1, len(code(name)) + 1))
    kinds = {output.output_type for cell in code(name) for output in cell.outputs}
    assert kinds <= {"display_data", "execute_result", "stream"}
    assert all(output.get("name") != "stderr" for cell in code(name) for output in cell.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_they_show_pictures_and_check_numbers(name: str) -> None:
    shown = [kind for cell in code(name) for output in cell.outputs for kind in output.get("data", {})]
    assert sum(kind in {"image/png", "image/jpeg"} for kind in shown) >= 2
    checked = [cell for cell in code(name) if cell.source.startswith("# NBVAL_CHECK_OUTPUT")]
    assert checked
    assert all(cell.outputs for cell in checked)


@pytest.mark.parametrize("name", NAMES)
def test_they_name_no_machine(name: str) -> None:
    for cell in read(name).cells:
        outputs = [
            str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            for output in cell.get("outputs", [])
        ]
        for text in (cell.source, *outputs):
            assert not MACHINE.search(text), text


@pytest.mark.parametrize("name", NAMES)
def test_they_hold_no_logic(name: str) -> None:
    for cell in code(name):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(node, LOGIC) for node in nodes), cell.source
        assert len(cell.source.splitlines()) <= 16, cell.source


def test_the_next_notebook_is_there() -> None:
    for name, following in pairwise(NAMES):
        text = "".join(cell.source for cell in read(name).cells)
        targets = re.findall(r"\]\(([^)]+\.ipynb)\)", text)
        assert following in targets
        assert set(targets) <= set(NAMES)
