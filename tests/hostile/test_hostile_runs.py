"""Folders of runs that somebody made to break `carlab report`: tables, or one line of error."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from carlab.cli.app import app
from carlab.errors import RunError
from carlab.evaluate.folder import RunFolder, claimed
from carlab.evaluate.report import TABLE_FORMATS
from tests.torture.mutate import nested
from tests.torture.targets import KINDS, attempt, report, seed_run


def complaint(run: Path) -> str:
    with pytest.raises(RunError) as caught:
        report(run, slow=True)
    message = str(caught.value)
    assert message.startswith("expected") and message.isprintable() and len(message) <= 300
    return message


def change(file: Path, *path: Any, to: Any) -> None:
    """Replace one value of a JSON file."""
    content: Any = json.loads(file.read_text())
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = to
    file.write_text(json.dumps(content))


MANIFESTS: list[tuple[tuple[Any, ...], Any]] = [
    (("format",), "1"),
    (("format",), 10_000 * "\x1b"),
    (("dataset",), None),
    (("dataset", "kind"), "else"),
    (("dataset", "classes"), "cat"),
    (("dataset", "classes"), [1, 2]),
    (("dataset", "classes"), 30_000 * ["cat"]),
    (("dataset", "background"), 1),
    (("dataset", "passes"), [{"classes": [7], "background": None}]),
    (("dataset", "digest"), {}),
    (("provenance",), {}),
    (("provenance", "preset"), 3),
    (("models",), nested(300)),
    (("models", 0), {"theta": float("inf")}),
]
RECORDS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("semantic", ("confusion",), None),
    ("semantic", ("confusion", 0), [0, 3, 5]),
    ("semantic", ("confusion", 0), [0, -1, 5]),
    ("semantic", ("confusion", 0, 2), 10**400),
    ("semantic", ("confusion", 0, 2), 2**63),
    ("semantic", ("true",), [2]),
    ("semantic", ("kept",), [["cat"]]),
    ("semantic", ("drops", 0, 0), 2),
    ("semantic", ("drops", 0, 2), "0.1"),
    ("semantic", ("score",), float("nan")),
    ("semantic", ("score",), 2),
    ("semantic", ("id",), "b"),
    ("semantic", ("id",), 3),
    ("semantic", ("seconds",), {"trunk": "long"}),
    ("referring", ("expressions",), [[1, 2]]),
    ("referring", ("expressions", 0), [1]),
    ("referring", ("empty",), [[0, 1], [0, 1]]),
    ("referring", ("objects",), []),
    ("referring", ("texts",), []),
    ("video", ("j",), []),
    ("video", ("j",), [0.5, 0.5]),
    ("video", ("f",), ["x"]),
    ("video", ("video",), None),
    ("video", ("stop",), nested(300)),
]


@pytest.mark.parametrize(("path", "to"), MANIFESTS, ids=str)
def test_a_manifest_that_is_wrong(path: tuple[Any, ...], to: Any, tmp_path: Path) -> None:
    run = seed_run(tmp_path / "run", "semantic")
    change(run / "manifest.json", *path, to=to)
    complaint(run)


@pytest.mark.parametrize(("kind", "path", "to"), RECORDS, ids=str)
def test_a_record_that_is_wrong(kind: str, path: tuple[Any, ...], to: Any, tmp_path: Path) -> None:
    run = seed_run(tmp_path / "run", kind)
    change(run / "images" / "a.json", *path, to=to)
    assert "a.json" in complaint(run)


def test_frames_of_a_video_with_other_objects(tmp_path: Path) -> None:
    run = seed_run(tmp_path / "run", "video")
    for name in ("j", "f"):
        change(run / "images" / "a.json", name, to=[0.5, 0.5])
    assert "camel" in complaint(run)


def test_traces_of_other_queries(tmp_path: Path) -> None:
    run = seed_run(tmp_path / "run", "referring")
    change(run / "images" / "a.json", "texts", to=["sofa", "dog"])
    assert "got others" in complaint(run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_whole(kind: str, tmp_path: Path) -> None:
    """Its image without a score, and one in which no query was left, among others."""
    run = seed_run(tmp_path / "run", kind)
    change(run / "images" / "a.json", "score", to=None)
    if kind == "semantic":
        change(run / "images" / "b.json", "kept", to=[])
    report(run, slow=True)


def test_special_files_do_not_hang(tmp_path: Path) -> None:
    for name in ("manifest.json", "images/a.json"):
        run = seed_run(tmp_path / name[:3], "semantic")
        (run / name).unlink()
        os.mkfifo(run / name)
        assert "special file" in complaint(run)


@pytest.mark.parametrize("form", TABLE_FORMATS)
def test_no_escape_sequence_reaches_the_terminal(form: str, tmp_path: Path) -> None:
    """Neither of a manifest nor of the name of a folder; invisible letters are shown too."""
    run = seed_run(tmp_path / "run\x1b[2J\u3164", "semantic")
    manifest = run / "manifest.json"
    change(manifest, "dataset", "name", to="\x1b]0;title\x07data")
    change(manifest, "dataset", "split", to="val\x1b[31m")
    change(manifest, "provenance", "preset", to="p\x1b[31m\u202e")
    change(manifest, "dataset", "classes", to=["cat\x1b[5m\u115f", "dog\r"])
    said = CliRunner().invoke(app, ["report", str(run), str(run), "--format", form])
    assert said.exit_code == 0
    assert "data" in said.output and "cat" in said.output
    text = said.output.encode().decode("unicode_escape") if form == "json" else said.output
    assert not {"\x1b", "\x07", "\r", "\u202e", "\u3164", "\u115f"} & set(said.output)
    assert "\x1b" not in text


def test_a_name_that_is_too_long_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="File name too long"):
        RunFolder.read(tmp_path / (300 * "x"))
    with (
        pytest.raises(RunError, match="File name too long"),
        claimed(tmp_path / (300 * "x"), manifest(tmp_path)),
    ):
        pass


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((seed_run(folder / "seed", "semantic") / "manifest.json").read_text())


@pytest.mark.parametrize("number", range(30))
def test_damage_at_random(number: int, tmp_path: Path) -> None:
    attempt("run", number, tmp_path)
