"""The benchmark: both schedules give one answer, and make the passes they claim. Seconds are not tested."""

import pytest

from benchmarks.commands import report
from benchmarks.cost import Task, query_names, run_task
from carlab.backbones import load_backbone
from carlab.errors import BackboneError

TINY = {"proposer_backbone": "random:tiny/16", "classifier": "random:tiny/16", "height": 60, "width": 80}


@pytest.mark.parametrize("preset", ["reference/voc", "reference/refcoco"])
def test_both_schedules_agree(preset: str) -> None:
    ours = run_task(Task(preset, **TINY))
    theirs = run_task(Task(preset, **TINY, as_released=True)) if preset == "reference/voc" else None
    assert ours.passes["trunk"] == 1
    assert ours.passes["image encode"] <= 8
    if theirs is not None:
        assert ours.kept == theirs.kept
        assert (ours.labels == theirs.labels).mean() > 0.995
        assert theirs.passes["image encode"] == 2 * 4 * 15
        assert theirs.passes["vjp"] == theirs.passes["affinity"] == 2 * 4
        assert ours.passes["vjp"] == 2 * 4 + 1
        # both stages share one backbone here, and its first prompt is one of the 15: encoded once
        assert ours.passes["text encode"] == 4 + 4 + 23 + 14 * 4
        text = report("x", ours, theirs)
        assert "kept sets equal" in text
        assert f"| image encode | {ours.passes['image encode']} |" in text


def test_passes_grow_linearly_in_queries() -> None:
    passes = {n: run_task(Task("paper/voc", **TINY, queries=n, steps=1)).passes for n in (1, 5, 20)}
    assert {n: p["vjp"] for n, p in passes.items()} == {1: 2, 5: 6, 20: 21}
    assert all(p["image encode"] <= n for n, p in passes.items())
    assert all(p["trunk"] == p["affinity"] == 1 for p in passes.values())


def test_query_names_are_distinct() -> None:
    assert len(set(query_names(80))) == 80


def test_unknown_random_sizes() -> None:
    with pytest.raises(BackboneError, match="random:ViT-B/16"):
        load_backbone("random:ViT-Z/99")
