"""`carlab lab` up to the moment when JupyterLab takes over; tests/browser goes on from there."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from carlab.cli import lab
from carlab.cli.app import app
from carlab.errors import CarlabError, ImageError, QueryError, SettingError
from tests.hostile.strings import HOSTILE

Lab = Callable[..., Any]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What JupyterLab would have been started with."""
    calls: list[list[str]] = []
    monkeypatch.setattr(lab, "start", calls.append)
    return calls


@pytest.fixture
def open_lab(tmp_path: Path, photo: np.ndarray) -> Lab:
    """`carlab lab` on a photo with an awkward name, in an empty folder."""
    picture = tmp_path / 'it\'s "a" {cat}.png'
    Image.fromarray(photo).save(picture)

    def runner(*words: str, picture: Path = picture) -> Any:
        return CliRunner().invoke(app, ["lab", str(picture), "--folder", str(tmp_path / "work"), *words])

    return runner


def arguments(path: Path) -> tuple[list[Any], dict[str, Any]]:
    """What the notebook's cell passes to Lab, read without running it."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    call = ast.parse(notebook.cells[1].source).body[1].value
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    return [ast.literal_eval(argument) for argument in call.args], named


def test_a_ready_notebook(open_lab: Lab, started: list[list[str]], tmp_path: Path) -> None:
    result = open_lab("-q", "cat", "-q", "red car", "--no-browser", "--port", "9999", "--", "--allow-root")
    assert result.exit_code == 0, result.output
    path = tmp_path / "work" / 'it\'s "a" {cat}.ipynb'
    assert str(path) in result.output
    given, named = arguments(path)
    assert given == [str(tmp_path / 'it\'s "a" {cat}.png'), ["cat", "red car"]]
    assert named == {"preset": "offline"}
    (command,) = started
    assert command[0] == str(path)
    assert {"--ServerApp.ip=127.0.0.1", "--ServerApp.port=9999", "--no-browser", "--allow-root"} <= {*command}


def test_words_stay_text(open_lab: Lab, started: list[list[str]], tmp_path: Path) -> None:
    # As --query=..., so that words like --help reach us.
    result = open_lab(*(f"--query={text}" for text in HOSTILE))
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "work").glob("*.ipynb")
    assert arguments(path)[0][1] == [text.strip() for text in HOSTILE]


def test_no_notebook_is_written_over(open_lab: Lab, started: list[list[str]], tmp_path: Path) -> None:
    for words in ("cat", "dog", "cow"):
        open_lab("-q", words)
    found = {path.stem: arguments(path)[0][1] for path in (tmp_path / "work").glob("*.ipynb")}
    stem = 'it\'s "a" {cat}'
    assert found == {stem: ["cat"], f"{stem}-2": ["dog"], f"{stem}-3": ["cow"]}


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ((), QueryError),
        (("-q", "cat", "--preset", "none"), SettingError),
        (("-q", "cat", "--", "other.jpg"), SettingError),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    open_lab: Lab, started: list[list[str]], tmp_path: Path, words: tuple[str, ...], kind: type[CarlabError]
) -> None:
    assert isinstance(open_lab(*words).exception, kind)
    assert started == []
    assert not (tmp_path / "work").exists()


def test_a_bad_photo(open_lab: Lab, started: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no photo")
    assert isinstance(open_lab("-q", "cat", picture=tmp_path / "bad.jpg").exception, ImageError)
    assert isinstance(open_lab("-q", "cat", picture=tmp_path / "absent.jpg").exception, ImageError)
    assert started == []


def test_without_jupyterlab(open_lab: Lab, started: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "find_spec", lambda name: None)
    error = open_lab("-q", "cat").exception
    assert isinstance(error, SettingError)
    assert "clip-as-rnn-lab[notebooks]" in str(error)
    assert started == []
