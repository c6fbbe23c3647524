"""The house keeps its shape: arrows point one way, and public names exist."""

import builtins
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import carlab

ROOT = Path(__file__).parents[1]


def test_layers() -> None:
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("import-linter is not installed; pip install -e .[dev]")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_public_names() -> None:
    for name in carlab.__all__:
        assert getattr(carlab, name).__doc__ or name.isupper()
    assert set(carlab.__all__) <= set(dir(carlab))
    with pytest.raises(AttributeError):
        _ = carlab.no_such_name


@pytest.mark.parametrize("name", ["", ".datasets", ".figures", ".hooks", ".trace", ".widgets"])
def test_importing_everything_of_a_package_replaces_no_builtin(name: str) -> None:
    import_module("carlab.figures.print")
    names: dict[str, object] = {}
    exec(f"from carlab{name} import *", names)  # noqa: S102 - as people do in notebooks
    assert len(names) > 5
    assert not (names.keys() - {"__builtins__"}) & set(dir(builtins))


def test_every_public_module_says_what_it_is() -> None:
    for path in (ROOT / "carlab").rglob("*.py"):
        assert path.read_text().startswith('"""'), path


def test_pages_made_from_the_code_are_up_to_date() -> None:
    spec = spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None and spec.loader is not None
    tables = module_from_spec(spec)
    spec.loader.exec_module(tables)
    for name, page in tables.PAGES.items():
        assert (ROOT / "docs" / name).read_text() == page(), f"{name}: run python docs/tables.py"
