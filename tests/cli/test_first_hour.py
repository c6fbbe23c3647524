"""What a new user meets: a line on the screen at once, JSON, what is skipped and what is saved."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import carlab.presets
from carlab.cli import evaluate as command
from carlab.cli.app import app
from carlab.cli.evaluate import run_all
from carlab.cli.machine import NEEDED, OPTIONAL, findings
from carlab.evaluate.folder import run_paths
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from tests.datasets.builders import labels, voc
from tests.runs import make_dataset, make_run
from tests.tiny_clip import tiny_options
from tests.traces import make_trace


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def images(tmp_path: Path, photo: np.ndarray) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    frames = [Image.fromarray(photo), Image.fromarray(photo[::-1])]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "film.MP4").write_bytes(b"film")
    (folder / "notes.txt").write_text("notes")
    return folder


class StopError(Exception):
    pass


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("segment", "{images}/a.png", "-q", "cat", "-o", "{out}"), "loading offline, 1 image to segment"),
        (("eval", "voc21", "--root", "{voc}", "-o", "{out}"), "2 images of voc21 val; loading offline"),
        (
            ("sweep", "voc21", "--root", "{voc}", "-o", "{out}", "-g", "theta=.3,.4"),
            "2 images of voc21 val, 2 s",
        ),
        (("check", "offline"), "loading offline"),
    ],
)
def test_a_line_before_the_model_is_loaded(
    words: tuple[str, ...], said: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise StopError

    monkeypatch.setattr(carlab.presets, "load", load)
    root = voc(tmp_path / "voc", {"a": labels(), "b": labels()})
    made = invoke(*(word.format(images=images, voc=root, out=tmp_path / "out") for word in words))
    assert isinstance(made.exception, StopError)
    assert said in made.stderr


def test_the_command_line_itself_waits_for_no_torch() -> None:
    """`--help`, a wrong option and the first line come before it is imported."""
    import subprocess

    code = "import sys, carlab.cli.app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_skipped_is_named(images: Path, tmp_path: Path, clip_folders: tuple[Path, Path]) -> None:
    words = ("-q", "cat", "-q", "dog", *tiny_options(clip_folders), "--no-figures", "--json")
    made = invoke("segment", images, *words, "-o", tmp_path / "out")
    assert "film.MP4: no still image" in made.stderr
    assert "moving.gif" in made.stderr
    assert "notes.txt" not in made.stderr
    (line,) = made.stdout.splitlines()
    record, trace = json.loads(line), Trace.load(tmp_path / "out" / "a.trace.safetensors")
    assert record["image"] == str(images / "a.png")
    assert record["queries"] == trace.to_records()
    assert tuple(record["found"]) == trace.found


def test_show_as_json(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "a.trace.safetensors")
    record = json.loads(invoke("show", path, "--json").stdout)
    assert (record["found"], record["steps"], record["trace"]) == (["cat"], 3, str(path))


def test_the_doctor_names_the_screen_and_jupyter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carlab.cli.machine.self_check", lambda: "fine")
    assert {"plotly", "anywidget", "ipywidgets"} <= set(NEEDED)
    assert "jupyterlab" in OPTIONAL
    said = [text.split()[0] for _, text in findings()]
    assert {"plotly", "anywidget", "jupyterlab"} <= set(said)
    rows = json.loads(invoke("doctor", "--json").stdout)
    assert {row["state"] for row in rows} <= {"ok", "optional", "note"}


def test_data_sets_that_are_there_come_first(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels(), "b": labels()})
    rows = json.loads(invoke("datasets", "--root", root, "--json").stdout)
    there = [row["images"] is not None for row in rows]
    assert there == sorted(there, reverse=True)
    assert (rows[0]["images"], rows[0]["problem"]) == (2, "")
    first, *_ = invoke("datasets", "--root", root).stdout.splitlines()[1:]
    assert first.split()[-1] == "2"


@pytest.fixture
def sweep(tmp_path: Path, tiny: ClipAsRnn) -> Path:
    truth = np.zeros((48, 70), np.int64)
    truth[:, :30] = 1
    dataset = make_dataset({"a": truth})
    for theta in (0.3, 0.4):
        made = make_trace(theta=theta)
        make_run(tmp_path / "sweep" / f"theta={theta}", tiny, dataset, {"a": [made]}, theta=theta)
    return tmp_path / "sweep"


def test_a_report_of_a_sweep(sweep: Path) -> None:
    assert [path.name for path in run_paths([sweep])] == ["theta=0.3", "theta=0.4"]
    assert run_paths([sweep / "theta=0.3"]) == [sweep / "theta=0.3"]
    whole = invoke("report", sweep)
    assert whole.exit_code == 0, whole.output
    assert whole.stdout == invoke("report", *sorted(sweep.iterdir())).stdout
    tables = json.loads(invoke("report", sweep, "--format", "json").stdout)
    assert [row[0] for row in tables[0]["rows"]] == ["theta=0.3", "theta=0.4"]


def test_how_many_are_to_run_and_what_an_interrupt_saves(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(*_: object, begin: Callable[[int, int], None], **__: object) -> None:
        begin(7, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr("carlab.evaluate.run.evaluate", evaluate)
    out = sweep / "theta=0.3"
    with pytest.raises(KeyboardInterrupt):
        run_all(None, None, {out: {}})  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "7 to run, 3 done before" in said
    assert f"stopped; 1 records are saved in {out}" in said
    assert command.stopped([out]) in said
