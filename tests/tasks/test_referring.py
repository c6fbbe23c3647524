"""Referring: the merge by plain loops, a run an expression equals, one trunk pass, what shows the trace."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import carlab
from carlab.cli.app import app
from carlab.errors import CarlabError, ImageError, QueryError
from carlab.figures import prompted_figure, recurrence_figure, scores_figure
from carlab.figures.page import page
from carlab.recurrence import ClipAsRnn
from carlab.settings import change
from carlab.stages.filter import Threshold
from carlab.tasks import calls, referring
from carlab.tasks.referring import joined, merged, refer_many
from carlab.trace import Trace
from carlab.widgets import Lab, RecurrencePlayer, ScoreMatrix, linked
from tests.tiny_clip import tiny_options
from tests.traces import make_trace

SAID = ("the red blob", "blob on the left", "a blue disc", "something round")
OBJECTS = [["the red blob", "blob on the left"], "a blue disc", ["something round"]]


@pytest.fixture(scope="module")
def model(tiny_double: ClipAsRnn) -> ClipAsRnn:
    """In double precision, so that no pixel hangs on the last bit; it drops some of the expressions."""
    return change(replace(tiny_double, filter=Threshold(0.45, keep_best=True)), refer=True)


def refer(model: ClipAsRnn, image: Any, expressions: Any, **options: Any) -> Trace:
    (found,) = refer_many(model, [image], expressions, workers=0, **options)
    assert isinstance(found, Trace)
    return found


def merge_by_loops(masks: np.ndarray, scores: list[float]) -> np.ndarray:
    """docs/method.md, row 12: score-weighted mean at .5; the union where that covers 5 % or less."""
    _, height, width = masks.shape
    mean, union = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            above = sum(score for mask, score in zip(masks, scores, strict=True) if mask[y, x])
            mean[y, x] = above / sum(scores) >= 0.5
            union[y, x] = any(mask[y, x] for mask in masks)
    return union if mean.sum() / mean.size <= 0.05 else mean


@pytest.mark.parametrize("size", [0.1, 0.6])
def test_the_merge_by_plain_loops(size: float) -> None:
    """Small masks, whose mean is below 5 %, and large ones."""
    rng = np.random.default_rng(3)
    trace = make_trace(["a", "b", "c"], kept=[(0, 1, 2), (0, 1, 2)])
    last = trace.steps[-1]
    probs = last.probs.copy()
    np.fill_diagonal(probs, [0.5, 0.2, 0.4])
    masks = rng.random((3, 48, 70)) < size
    trace = replace(trace, steps=(trace.steps[0], replace(last, probs=probs)), refined=masks)
    expected = merge_by_loops(masks, [0.5, 0.2, 0.4])
    found = merged(trace)
    for query in "abc":
        np.testing.assert_array_equal(found[query], expected)
    assert expected.any() and not (expected == masks[0]).all()


def test_only_the_expressions_that_are_kept_are_merged() -> None:
    trace = make_trace(["a", "b", "c"], kept=[(0, 2), (0, 2)])
    found = merged(trace)
    np.testing.assert_array_equal(found["a"], merge_by_loops(trace.refined, [0.8, 0.8]))
    assert not found["b"].any()


def test_one_run_for_each_expression_is_the_same(model: ClipAsRnn, photo: np.ndarray) -> None:
    found = refer(model, photo, SAID)
    assert found.queries == SAID
    assert found.passes["trunk"] == 1
    assert found.found
    for k, text in enumerate(SAID):
        alone = model(photo, [text])
        np.testing.assert_array_equal(found[text], alone[text])
        for step, own in zip(found.steps, alone.steps, strict=False):
            np.testing.assert_allclose(step.cams[step.active == k], own.cams, atol=1e-6)
            np.testing.assert_allclose(step.masks[step.active == k], own.masks, atol=1e-6)
            np.testing.assert_array_equal(step.prompted[step.active == k], own.prompted)
            assert step.scores[k] == own.scores[0] == 1


def test_expressions_of_one_object_compete_and_are_merged(model: ClipAsRnn, photo: np.ndarray) -> None:
    found, plain = refer(model, photo, [SAID]), model(photo, SAID)
    _close(found, plain)
    apart = refer(model, photo, [SAID], merge=False)
    np.testing.assert_array_equal(apart.refined, plain.refined)
    scores = plain.steps[-1].scores[plain.steps[-1].kept].tolist()
    expected = merge_by_loops(plain.refined, scores)
    for index in plain.survivors:
        np.testing.assert_array_equal(found[SAID[index]], expected)


def _close(found: Trace, plain: Trace) -> None:
    np.testing.assert_allclose(found.scores, plain.scores, atol=1e-6)


def test_objects_stay_apart(model: ClipAsRnn, photo: np.ndarray) -> None:
    """Each block of the joined trace is the run of its object; between objects there is nothing."""
    found = refer(model, photo, OBJECTS)
    assert found.settings["referring"] == {"objects": [[0, 1], [2], [3]], "merged": True}
    runs = [model(photo, SAID[:2]), model(photo, SAID[2:3]), model(photo, SAID[3:])]
    for place, run in zip([(0, 1), (2,), (3,)], runs, strict=True):
        assert [q for q in found.found if SAID.index(q) in place] == list(run.found)
        first = found.steps[0]
        np.testing.assert_allclose(first.probs[np.ix_(place, place)], run.steps[0].probs, atol=1e-6)
        others = [k for k in range(4) if k not in place]
        assert not first.probs[np.ix_(place, others)].any()
    np.testing.assert_allclose(found.steps[0].probs.sum(1), 1, atol=1e-6)


def test_runs_of_different_lengths_are_shown_as_they_ended() -> None:
    short = make_trace(["a", "b"], kept=[()])
    long = make_trace(["c", "d"], kept=[(0, 1), (0,), (0,)])
    found = joined([short, long])
    assert [step.active.tolist() for step in found.steps] == [[0, 1, 2, 3], [2, 3], [2]]
    assert found.stop == "nothing present, fixed point"
    assert found.found == ("c",)
    assert [found.queries[drop.query] for drop in found.drops] == ["a", "b", "d"]
    turned = joined([long, short])
    assert turned.steps[2].active.tolist() == [0] and turned.found == ("c",)
    ended = joined([make_trace(["e"], kept=[(0,)]), long])
    np.testing.assert_array_equal(ended.steps[2].masks[0], ended.steps[0].masks[0])


def test_everything_that_shows_a_trace_shows_it(model: ClipAsRnn, photo: np.ndarray, tmp_path: Path) -> None:
    found = refer(model, photo, OBJECTS)
    assert Trace.load(found.save(tmp_path / "t.safetensors")) == found
    assert "the red blob" in page(found) and "the red blob" in str(found)
    for draw in (recurrence_figure, scores_figure, prompted_figure):
        assert draw(found).axes
    assert found.figure("strip").axes
    player, matrix = RecurrencePlayer(found), ScoreMatrix(found)
    linked(player, matrix)
    player.step = len(found.steps) - 1
    assert matrix.step == player.front.step
    assert [query["name"] for query in player.front.content["queries"]] == list(SAID)


def test_the_lab_runs_the_expressions_of_one_object(model: ClipAsRnn, photo: np.ndarray) -> None:
    lab = Lab(photo, SAID, model=model)
    assert lab.wait(60)
    assert lab.trace is not None
    _close(refer(model, photo, [SAID], merge=False), lab.trace)


def test_a_reader_is_told_that_a_lone_score_says_nothing(model: ClipAsRnn, photo: np.ndarray) -> None:
    (note,) = refer(model, photo, SAID).notes
    assert "always scores 1.000" in note
    assert refer(model, photo, [SAID]).notes == ()


WRONG: dict[str, Any] = {
    "one text": "the dog",
    "nothing": [],
    "an object without a text": ["the dog", []],
    "the same twice": [["the dog", "a dog"], "The dog"],
    "a number": ["the dog", 3],
    "a number in a list": [["the dog", 3]],
    "a set": {"the dog"},
}


@pytest.mark.parametrize("problem", WRONG)
def test_expressions_that_cannot_be_used(problem: str) -> None:
    with pytest.raises(QueryError, match="expected .*, got .*; "):
        referring._objects(WRONG[problem])


def test_an_expression_that_the_model_cannot_read(model: ClipAsRnn, photo: np.ndarray) -> None:
    with pytest.raises(QueryError, match="expected .* tokens"):
        refer(model, photo, ["the dog", "x" * 500])


def test_a_bad_image_among_several(model: ClipAsRnn, photo: np.ndarray) -> None:
    first, second, third = refer_many(model, [photo, b"no image", photo[:, ::-1]], OBJECTS, workers=0)
    assert isinstance(first, Trace) and isinstance(second, ImageError) and isinstance(third, Trace)


@pytest.fixture
def loaded(model: ClipAsRnn, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    calls._loaded.cache_clear()
    monkeypatch.setattr(calls, "load", lambda preset, **options: change(model, refer=False))
    yield
    calls._loaded.cache_clear()


@pytest.mark.usefixtures("loaded")
def test_the_call_of_the_issue(model: ClipAsRnn, photo: np.ndarray) -> None:
    assert carlab.refer(photo, OBJECTS) == refer(model, photo, OBJECTS)
    assert carlab.refer(photo, OBJECTS, theta=0.1).threshold == 0.1
    with pytest.raises(CarlabError, match="expected one of PNG"):
        carlab.refer(b"no image", OBJECTS)


@pytest.mark.parametrize("together", [False, True])
def test_the_command(
    together: bool, clip_folders: tuple[Path, Path], photo: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(photo).save(tmp_path / "a.png")
    tiny = [*tiny_options(clip_folders), "--refiner", "none"]
    said = [word for text in SAID[:3] for word in ("-q", text)]
    more = ["--one-object"] if together else []
    result = CliRunner().invoke(
        app, ["refer", str(tmp_path / "a.png"), *said, *more, *tiny, "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    trace = Trace.load(tmp_path / "out" / "a.trace.safetensors")
    assert trace.settings["referring"]["objects"] == ([[0, 1, 2]] if together else [[0], [1], [2]])
    assert trace.settings["proposer"]["compete"] is False
    shown = CliRunner().invoke(app, ["view", str(tmp_path / "out" / "a.trace.safetensors")])
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "out" / "a.html").stat().st_size > 10_000
