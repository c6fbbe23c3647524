"""Numbers of runs: the same in any order, and never compared across protocols."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from carlab.errors import RunError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.report import render
from carlab.evaluate.scoring import runs_of
from carlab.evaluate.summary import Summary, difference
from carlab.metrics.referring import PRECISIONS
from carlab.recurrence import ClipAsRnn
from tests.runs import make_dataset, make_run
from tests.traces import make_trace

SIZE = (48, 70)
IDS = ("a", "b", "c")


def truths(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 4, SIZE) for name in IDS}


def run(path: Path, model: ClipAsRnn, order: tuple[str, ...] = IDS) -> RunFolder:
    traces = {name: [make_trace(kept=((0, 1), (0,)))] for name in order}
    return make_run(path, model, make_dataset(truths()), traces)


def test_images_may_come_in_any_order(tmp_path: Path, tiny: ClipAsRnn) -> None:
    order = list(IDS)
    Random(3).shuffle(order)
    assert tuple(order) != IDS
    first, second = (
        Summary.of(run(tmp_path / str(n), tiny, names), IDS) for n, names in enumerate((IDS, tuple(order)))
    )
    assert {name: first.interval(name) for name in first.metrics} == {
        name: second.interval(name) for name in second.metrics
    }
    assert first.per_class() == second.per_class()
    assert difference(first, second, "mIoU") == (0, 0, 0)


CHANGES: list[Callable[[Summary], Summary]] = [
    lambda a: replace(a, protocol=replace(a.protocol, dataset="other")),
    lambda a: replace(a, protocol=replace(a.protocol, split="train")),
    lambda a: replace(a, protocol=replace(a.protocol, background=False)),
    lambda a: replace(a, protocol=replace(a.protocol, labels_given=True)),
    lambda a: replace(a, protocol=replace(a.protocol, images=IDS[:2])),
]


@pytest.mark.parametrize("change", CHANGES)
def test_two_protocols_are_not_compared(
    change: Callable[[Summary], Summary], tmp_path: Path, tiny: ClipAsRnn
) -> None:
    summary = Summary.of(run(tmp_path, tiny), IDS)
    with pytest.raises(RunError):
        difference(summary, change(summary), "mIoU")


def test_who_was_wrongly_dropped_when_and_by_what_margin(tmp_path: Path, tiny: ClipAsRnn) -> None:
    summary = Summary.of(run(tmp_path, tiny), IDS)
    # dog falls at the second step, sofa at the first; both are true everywhere, with 0.12 against 0.3.
    assert {drop[:3] for drop in summary.wrong_drops()} == {
        (name, *fell) for name in IDS for fell in (("sofa", 1), ("dog", 2))
    }
    np.testing.assert_allclose([drop[3] for drop in summary.wrong_drops()], 0.18, atol=1e-6)
    assert [(step.right, step.kept, step.true) for step in summary.kept()] == [(6, 6, 9), (3, 3, 9)]


def test_classes_that_a_run_lacks_are_empty_cells(tmp_path: Path, tiny: ClipAsRnn) -> None:
    trace = make_trace(kept=((0, 1),))
    datasets = [make_dataset({"a": trace.labels}, name=name, background=name == "x") for name in "xy"]
    runs = [make_run(tmp_path / data.name, tiny, data, {"a": [trace]}) for data in datasets]
    rows = render([Summary.of(folder, ["a"]) for folder in runs], "csv").splitlines()
    assert [row for row in rows if ",background," in row] == [
        '"IoU by class, percent",background,x,100.0',
        '"IoU by class, percent",background,y,',
    ]


def test_expressions_from_a_run(tmp_path: Path, tiny: ClipAsRnn) -> None:
    """Two expressions of one object in one run, of which one is dropped; another object in a second run."""
    one = make_trace(("left cup", "right cup"), kept=((0, 1), (0,)))
    other = make_trace(("a spoon",), kept=((0,),))
    truth = np.stack([one.refined[0], ~one.refined[0], one.refined[0]])
    fields = {"expressions": ("left cup", "a spoon", "right cup"), "objects": ("1", "2", "1")}
    data = make_dataset({"a": truth}, kind="referring", classes=(), samples={"a": fields})
    summary = Summary.of(make_run(tmp_path, tiny, data, {"a": [one, other]}), ["a"])
    pairs = list(zip(truth, (one.refined[0], other.refined[0], np.zeros(SIZE, bool)), strict=True))
    above, below = ([int(op(t, m).sum()) for t, m in pairs] for op in (np.logical_and, np.logical_or))
    ious = [a / b for a, b in zip(above, below, strict=True)]
    assert summary.value("mIoU per expression") == pytest.approx(sum(ious) / 3)
    per_object = (1 + ious[1]) / 2
    assert summary.value("mIoU per object as released") == pytest.approx(per_object)
    assert summary.value("mIoU per object by union") == pytest.approx(per_object)
    assert summary.value("cIoU") == pytest.approx(sum(above) / sum(below))
    for at in PRECISIONS:
        assert summary.value(f"precision at {at}") == sum(iou >= at for iou in ious) / 3
    assert "target accuracy" not in summary.metrics
    assert summary.records[0]["runs"] == [[0, 2], [1]]


def test_grefcoco_also_counts_targets(tmp_path: Path, tiny: ClipAsRnn) -> None:
    cup, camel = make_trace(("a cup",), kept=((0,),)), make_trace(("a camel",), kept=((),))
    truth = np.stack([np.ones(SIZE, bool), np.zeros(SIZE, bool)])
    first = truth.copy()
    first[0, SIZE[0] // 2 :] = False  # one of two annotations
    fields = {"expressions": ("a cup", "a camel"), "objects": ("1.0", "2.0"), "released_truth": lambda: first}
    data = make_dataset({"a": truth}, name="grefcoco", kind="referring", classes=(), samples={"a": fields})
    summary = Summary.of(make_run(tmp_path, tiny, data, {"a": [cup, camel]}), ["a"])
    assert summary.value("no-target accuracy") == summary.value("target accuracy") == 1
    mask = cup.refined[0]
    assert summary.value("mIoU per expression") == pytest.approx((mask.mean() + 1) / 2)
    released = (mask & first[0]).sum() / (mask | first[0]).sum()
    assert summary.value("mIoU per object as released") == pytest.approx(released / 2)  # empty on empty: 0


def test_a_sentence_that_could_not_be_read_costs_itself(tmp_path: Path, tiny: ClipAsRnn) -> None:
    trace = make_trace(("left cup",), kept=((0,),))
    fields = {"expressions": ("left cup", "too long", "longer"), "objects": ("1", "1", "2")}
    truth = np.repeat(trace.refined, 3, axis=0)
    data = make_dataset({"a": truth}, kind="referring", classes=(), samples={"a": fields})
    summary = Summary.of(make_run(tmp_path, tiny, data, {"a": [trace, None]}), ["a"])
    assert summary.value("mIoU per expression") == pytest.approx(1 / 3)
    assert summary.value("mIoU per object by union") == pytest.approx(1 / 2)
    assert (summary.records[0]["runs"], summary.records[0]["unread"]) == ([[0, 1]], [1, 2])


def test_videos_are_means_over_frames_then_over_objects(tmp_path: Path, tiny: ClipAsRnn) -> None:
    good, bad = make_trace(("dog",), kept=((0,),)), make_trace(("dog",), kept=((),))
    made = {"x/0": good, "x/1": bad, "y/0": good}
    truth = dict.fromkeys(made, good.refined)
    fields = {name: {"expressions": ("dog",), "objects": ("1",), "video": name[0]} for name in made}
    data = make_dataset(truth, kind="video", classes=(), samples=fields)
    folder = make_run(tmp_path, tiny, data, {name: [trace] for name, trace in made.items()})
    summary = Summary.of(folder, list(made))
    assert (summary.value("J"), summary.value("F"), summary.value("J&F")) == (0.75, 0.75, 0.75)
    assert len(summary.rows) == 2


def test_the_mask_of_a_distractor_belongs_to_no_object(tmp_path: Path, tiny: ClipAsRnn) -> None:
    """It is a query of the run; when it is kept its mask is not the object's."""
    trace = make_trace(("dog", "camel"), kept=((0, 1),))
    fields = {"expressions": ("dog",), "objects": ("1",), "video": "x", "distractors": ("camel",)}
    for truth, score in ((trace.refined[0], 1.0), (trace.refined[1] & ~trace.refined[0], 0.0)):
        data = make_dataset({"x/0": truth[None]}, kind="video", classes=(), samples={"x/0": fields})
        assert runs_of(data, data[0]) == [(0, ["dog", "camel"])]
        folder = make_run(tmp_path / str(score), tiny, data, {"x/0": [trace]})
        assert Summary.of(folder, ["x/0"]).value("J") == score
    dropped = make_trace(("dog", "camel"), kept=((1,),))
    folder = make_run(tmp_path / "dropped", tiny, data, {"x/0": [dropped]})
    assert Summary.of(folder, ["x/0"]).value("J") == 0
