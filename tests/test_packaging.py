"""What is published: the files of the wheel and of the source distribution, and what installing asks for."""

import ast
import os
import re
import subprocess
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from shutil import copytree, ignore_patterns, unpack_archive
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NOT_COPIED = ignore_patterns(
    ".*", "out", "build", "dist", "*.egg-info", "node_modules", "fidelity", "*.ipynb", "*.jpg"
)
"""Caches and environments; and what is large, as a copy stands for the checkout."""
MOST_BYTES = 5_000_000
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both distributions: the source, and the wheel that is built of the source."""
    for needed in ("build", "setuptools"):
        pytest.importorskip(needed)
    source = copytree(ROOT, tmp_path_factory.mktemp("package") / "source", ignore=NOT_COPIED)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", source], check=True, capture_output=True, text=True
    )
    return source / "dist"


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return message_from_bytes(archive.read(name))


def test_the_wheel_is_the_package_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "carlab").rglob("*") if path.is_file())
    assert names == {path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"}
    assert wheel.stat().st_size < MOST_BYTES


def test_the_source_distribution_can_be_tested(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "tests/conftest.py", "benchmarks/cost.py"} <= names
    assert not [
        name for name in names if re.search(r"\.pyc|__pycache__|ipynb_checkpoints|^(out|build)/", name)
    ]


def test_the_description_can_be_shown(built: Path) -> None:
    pytest.importorskip("twine")
    check = [sys.executable, "-m", "twine", "check", "--strict", *built.iterdir()]
    result = subprocess.run(check, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("PASSED") == 2


def test_installing_compiles_nothing_but_what_is_asked_for(metadata: Message) -> None:
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    assert "pydensecrf2" not in {one.name for one in required if "extra" not in str(one.marker)}
    (compiled,) = (one for one in required if one.name == "pydensecrf2")
    assert compiled.marker.evaluate({"extra": "crf", "python_version": "3.12"})
    assert not compiled.marker.evaluate({"extra": "crf", "python_version": "3.13"})


def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    unpack_archive(wheel, tmp_path / "there", "zip")  # all that installing it does
    code = "import carlab; from carlab.cli.app import main; print(carlab.__file__, flush=True); main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "there")},
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith(str(tmp_path / "there" / "carlab")), result
    commands = re.findall(r"^  (\w+)  ", result.stdout, re.MULTILINE)
    assert {"demo", "segment", "doctor"} <= set(commands)
    assert not {"bench", "fidelity"} & set(commands)


@pytest.mark.parametrize("folder", ["carlab", "benchmarks"])
def test_importing_needs_no_module_of_posix(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                assert not POSIX & {alias.name for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in POSIX, path


def test_charts_offer_no_upload() -> None:
    """Of plotly's own default, and of the charts of the widgets."""
    plotly = pytest.importorskip("plotly")
    bundle = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    assert re.findall(r'showSendToCloud:\{valType:"boolean",dflt:(![01])', bundle.read_text()) == ["!1"]
    chart = ROOT / "carlab" / "widgets" / "chart.js"
    assert "showSendToCloud: false" in chart.read_text()
