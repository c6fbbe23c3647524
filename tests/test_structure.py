"""The house keeps its shape: arrows point one way, and public names exist."""

import shutil
import subprocess
import sys
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


def test_every_public_module_says_what_it_is() -> None:
    for path in (ROOT / "carlab").rglob("*.py"):
        assert path.read_text().startswith('"""'), path


def test_the_page_of_probes_is_that_of_the_code() -> None:
    code = "import probe_table; print(probe_table.probe_table(), end='')"
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "figures", check=True, capture_output=True, text=True
    ).stdout
    assert (ROOT / "docs" / "probes.md").read_text() == made
