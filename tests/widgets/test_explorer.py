"""A run in the explorer: what is listed, and the trace of what is clicked, kept or computed again."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import carlab
from carlab.datasets import Dataset, load_dataset
from carlab.errors import DatasetError, RunError
from carlab.evaluate.again import recompute, run_dataset, run_models
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.work import Loaded
from carlab.recurrence import ClipAsRnn
from carlab.stages.prompter import Black
from carlab.trace import Trace
from carlab.widgets import Compare, Explorer, RecurrencePlayer
from tests.evaluate.conftest import save_pictures
from tests.evaluate.helpers import here, run
from tests.runs import make_dataset, make_run
from tests.traces import make_trace

SIZE = (48, 70)


def truth(*columns: tuple[int, slice]) -> np.ndarray:
    labels = np.zeros(SIZE, dtype=np.int64)
    for label, where in columns:
        labels[:, where] = label
    return labels


TRUTHS = {
    "a cat": truth((1, slice(0, 20))),
    "a dog": truth((2, slice(25, 45))),
    "both": truth((1, slice(0, 20)), (2, slice(25, 45))),
    "<b>odd</b>": truth((3, slice(50, 70))),
}
KEPT = {"a cat": (0,), "a dog": (0, 1), "both": (0,), "<b>odd</b>": (0,)}


def made(kept: dict[str, tuple[int, ...]], **options: object) -> dict[str, list[Trace]]:
    return {name: [make_trace(kept=((0, 1), one, one), **options)] for name, one in kept.items()}


@pytest.fixture
def dataset() -> Dataset:
    return make_dataset(TRUTHS)


@pytest.fixture
def folder(tmp_path: Path, tiny: ClipAsRnn, dataset: Dataset) -> RunFolder:
    return make_run(tmp_path / "run", tiny, dataset, made(KEPT))


@pytest.fixture
def other(tmp_path: Path, tiny: ClipAsRnn, dataset: Dataset) -> RunFolder:
    kept = {**KEPT, "a dog": (0,), "both": (0, 1)}
    return make_run(tmp_path / "other", tiny, dataset, made(kept, theta=0.5), theta=0.5)


def listed(explorer: Explorer) -> list[str]:
    return [row["id"] for row in explorer.images.rows]


def brute_iou(trace: Trace, labels: np.ndarray, label: int) -> float:
    a, b = set(np.flatnonzero(trace.labels == label)), set(np.flatnonzero(labels == label))
    return len(a & b) / len(a | b)


def test_sorted_by_the_records_of_the_run(folder: RunFolder) -> None:
    explorer = Explorer(folder)
    scores = {record["id"]: record["score"] for record in folder.records(folder.ids)}
    assert listed(explorer) == sorted(scores, key=lambda name: (scores[name], name))
    explorer.order = "highest first"
    assert listed(explorer) == sorted(scores, key=lambda name: (-scores[name], name))
    explorer.order = "name"
    assert listed(explorer) == sorted(scores)
    assert explorer.images.note == "4 of 4 images"
    json.dumps(explorer.images.rows, allow_nan=False)


def test_with_a_class_by_its_iou(folder: RunFolder) -> None:
    explorer = Explorer(folder, order="highest first")
    explorer.label = "dog"
    truths, traces = TRUTHS, made(KEPT)
    there = {name: brute_iou(traces[name][0], truths[name], 2) for name in ("a dog", "both")}
    assert listed(explorer) == sorted(there, key=lambda name: -there[name])
    for row in explorer.images.rows:
        assert row["scores"] == [pytest.approx(there[row["id"]])]
    explorer.label = "sofa"
    assert listed(explorer) == ["<b>odd</b>"]


def test_wrongly_dropped(folder: RunFolder) -> None:
    """True in the image and dropped on the way: the dog of "both", the sofa of the odd one."""
    explorer = Explorer(folder, dropped=True, order="name")
    assert {row["id"]: row["dropped"] for row in explorer.images.rows} == {
        "both": "dog",
        "<b>odd</b>": "sofa",
    }
    explorer.label = "dog"
    assert listed(explorer) == ["both"]


def test_a_click_opens_the_trace_that_was_kept(folder: RunFolder) -> None:
    explorer = Explorer(folder)
    explorer.images.picked = "both"  # as the browser does
    (view,) = explorer.view.children
    assert isinstance(view, RecurrencePlayer)
    assert view.trace == explorer.trace == Trace.load(folder.trace("both"))
    assert "wrongly dropped: dog" in explorer.note.value
    explorer.image = "<b>odd</b>"
    assert "&lt;b&gt;odd" in explorer.note.value
    explorer.image = ""
    assert explorer.trace is None
    assert explorer.view.children == ()


def test_two_runs_are_compared(folder: RunFolder, other: RunFolder) -> None:
    explorer = Explorer(folder.path, other.path)
    scores = [{one["id"]: one["score"] for one in of.records(of.ids)} for of in (folder, other)]
    change = {name: scores[1][name] - scores[0][name] for name in scores[0]}
    for order, sign in (("most lost", 1), ("most gained", -1)):
        explorer.order = order
        assert listed(explorer) == sorted(change, key=lambda name: (sign * change[name], name))
    assert [len(row["scores"]) for row in explorer.images.rows] == [2] * 4
    explorer.image = "both"
    (view,) = explorer.view.children
    assert isinstance(view, Compare)
    assert view.other == Trace.load(folder.trace("both"))
    assert view.trace == Trace.load(other.trace("both"))
    assert view.comparison.settings == (("filter.theta", 0.3, 0.5),)


def test_what_cannot_be_shown_is_said_in_place(tmp_path: Path, tiny: ClipAsRnn, dataset: Dataset) -> None:
    bare = make_run(tmp_path / "bare", tiny, dataset, made(KEPT), keep="none")
    explorer = Explorer(bare)
    explorer.image = "both"
    assert "root=" in explorer.note.value
    assert explorer.trace is None
    with pytest.raises(RunError, match="folder of a run"):
        Explorer(tmp_path / "nothing")
    classes = make_dataset(TRUTHS, classes=("cat", "dog", "lamp"))
    strange = make_run(tmp_path / "strange", tiny, classes, made(KEPT))
    with pytest.raises(RunError, match="one data set"):
        Explorer(bare, strange)


def test_images_that_failed_and_traces_of_one_run_alone(
    tmp_path: Path, tiny: ClipAsRnn, dataset: Dataset, folder: RunFolder
) -> None:
    traces: dict[str, object] = {**made(KEPT), "a cat": "expected an image, got none"}
    half = make_run(tmp_path / "half", tiny, dataset, traces, keep="worst:1")  # type: ignore[arg-type]
    explorer = Explorer(folder, half)
    assert "1 failed" in explorer.children[0].value
    assert "no difference" in explorer.children[0].value
    explorer.image = "a cat"
    assert isinstance(explorer.view.children[0], RecurrencePlayer)
    assert "root=" in explorer.note.value


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"theta": 0.15, "eta": 0.5, "box": 0.3},
        {"prompter": "black+contour", "background": "none", "keep_best": True},
        {"refiner": "crf", "regions": "superpixels"},
        {"affinity": False, "max_steps": 1},
    ],
    ids=str,
)
def test_computed_again_as_it_would_have_been_kept(
    settings: dict[str, object], tmp_path: Path, tiny: ClipAsRnn
) -> None:
    root = save_pictures(tmp_path / "data", 3)
    data = load_dataset("folder", root)
    for name, keep in (("kept", "all"), ("bare", "none")):
        run(data, tiny, tmp_path / name, settings, keep_traces=keep, engine=partial(here, together=1))
    bare, kept = RunFolder.read(tmp_path / "bare"), RunFolder.read(tmp_path / "kept")
    changed = replace(tiny, prompter=Black(), mask_threshold=0.9, name="another")
    explorer = Explorer(bare, root=root, model=lambda: changed)
    for identity in bare.ids:
        explorer.image = identity
        assert explorer.trace is not None, explorer.note.value
        again, was = explorer.trace, Trace.load(kept.trace(identity))
        np.testing.assert_array_equal(again.labels, was.labels)
        np.testing.assert_allclose(again.scores, was.scores, atol=1e-6)
        assert {**again.settings, "name": ""} == {**was.settings, "name": ""}


def test_another_model_or_data_set_is_no_other_result(
    tmp_path: Path, tiny: ClipAsRnn, tiny_double: ClipAsRnn
) -> None:
    root = save_pictures(tmp_path / "data", 2)
    data = load_dataset("folder", root)
    run(data, tiny, tmp_path / "run")
    explorer = Explorer(tmp_path / "run", root=root, model=lambda: tiny_double)
    explorer.image = "0"
    assert "can be set as in the run" in explorer.note.value
    smaller = save_pictures(tmp_path / "smaller", 1)
    explorer = Explorer(tmp_path / "run", root=smaller, model=lambda: tiny)
    explorer.image = "0"
    assert "as the run in" in explorer.note.value
    folder = RunFolder.read(tmp_path / "run")
    made_again = recompute(folder, "0", data, Loaded(tiny))
    assert made_again[0].queries == data.queries
    with pytest.raises(RunError, match="filter"):
        run_models({"models": [{**folder.manifest["models"][0], "filter": "mine.rule"}]}, tiny)
    with pytest.raises(DatasetError):
        run_dataset(folder, smaller)


def test_it_needs_no_torch() -> None:
    code = "import sys; from carlab.widgets import Explorer, StudyView; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert carlab.widgets.Explorer is Explorer
