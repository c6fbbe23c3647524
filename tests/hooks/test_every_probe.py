"""Every probe of the table by its effect: edited inside a `with`, seen; after it, as if it never was."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from carlab.errors import ProbeError
from carlab.hooks import PROBES, edit, measure, record
from carlab.photo import Photo
from carlab.presets import match_regions
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from tests.conftest import WORDS


def changed(value: Any) -> Any:
    """Something clearly different of the same shape, type and range."""
    if isinstance(value, torch.Tensor):
        return value.flip(0) * 0.5 + value.abs().mean()
    if value.dtype == bool:
        return ~value
    if value.dtype == np.uint8:
        return 255 - value
    return (value[::-1] * 0.5 + 0.1).astype(value.dtype)


def model_for(name: str, tiny: ClipAsRnn, offline: ClipAsRnn) -> ClipAsRnn:
    return offline if name == "affinity.similarity" else match_regions(tiny, "superpixels")


def outputs(trace: Trace) -> list[np.ndarray]:
    arrays = [trace.refined]
    for step in trace.steps:
        arrays += [step.cams, step.masks, step.prompted, step.probs, step.kept]
    return arrays


def differs(a: Trace, b: Trace) -> bool:
    """Whether anything computed differs, masks or scores or the kept sets."""
    mine, theirs = outputs(a), outputs(b)
    return len(mine) != len(theirs) or any(
        x.shape != y.shape or not np.array_equal(x, y) for x, y in zip(mine, theirs, strict=True)
    )


def assert_clean(trace: Trace, fresh: Trace) -> None:
    """The same trace, but for the last bits of a batched product."""
    for one, other in zip(outputs(trace), outputs(fresh), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", PROBES)
def test_an_edit_has_its_effect_and_leaves_nothing_behind(
    name: str, tiny: ClipAsRnn, offline: ClipAsRnn, photo: np.ndarray
) -> None:
    model = model_for(name, tiny, offline)
    fresh = model(photo, WORDS, record=[name])
    prepared = model.prepare(photo, WORDS)
    prepared.run()
    seen: list[Any] = []
    with edit(name, lambda value: seen.append(value) or changed(value)):
        within = prepared.run()  # the caches hold everything by now
        called = model(photo, WORDS)
    assert seen, "the probe did not fire"
    assert differs(within, fresh)
    assert not differs(within, called)
    for clean in (prepared.run(), prepared.ask(WORDS).run(), model(photo, WORDS)):
        assert_clean(clean, fresh)


@pytest.mark.parametrize("name", PROBES)
def test_what_was_prepared_inside_an_edit_is_clean_after_it(
    name: str, tiny: ClipAsRnn, offline: ClipAsRnn, photo: np.ndarray
) -> None:
    model = model_for(name, tiny, offline)
    with edit(name, changed):
        prepared = model.prepare(photo, WORDS)
        prepared.run()
    assert_clean(prepared.run(), model(photo, WORDS))


@pytest.mark.parametrize("name", PROBES)
def test_a_recording_is_complete_whatever_the_caches_hold(
    name: str, tiny: ClipAsRnn, offline: ClipAsRnn, photo: np.ndarray
) -> None:
    model = model_for(name, tiny, offline)
    fresh = model(photo, WORDS, record=[name])
    prepared = model.prepare(photo, WORDS[:3])
    prepared.run()
    again = prepared.ask(WORDS)
    again.run()
    with record(name):
        first, second = again.run(), again.run()
    for trace in (first, second):
        assert trace.probes.keys() == fresh.probes.keys()
        for step, expected in zip([trace, *trace.steps], [fresh, *fresh.steps], strict=True):
            assert step.probes.keys() == expected.probes.keys()
            for key, value in expected.probes.items():
                np.testing.assert_allclose(step.probes[key], value, atol=1e-4)


def test_an_edit_that_changes_nothing_changes_nothing(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    fresh = tiny(photo, WORDS)
    for name in PROBES:
        with edit(name, lambda value: value):
            assert_clean(tiny(photo, WORDS), fresh)


def test_while_an_edit_is_open_each_thing_is_made_once_a_run(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """No cache is used, and yet nothing is computed twice within a run."""
    prepared = tiny.prepare(photo, WORDS)
    prepared.run()
    with edit("filter.scores", lambda scores: scores), measure() as cost:
        trace = prepared.run()
    assert cost.passes["trunk"] == cost.passes["affinity"] == 1
    assert cost.passes["vjp"] == len(WORDS) + 1
    assert cost.passes["image encode"] == sum(len(step.active) for step in trace.steps)


@pytest.mark.parametrize("bad", [lambda v: v[:1], lambda v: None])
def test_a_bad_edit_is_told_by_name(tiny: ClipAsRnn, photo: np.ndarray, bad: Callable[[Any], Any]) -> None:
    photo = Photo.of(photo)
    tiny(photo, WORDS)
    with edit("cam.gradients", bad), pytest.raises(ProbeError, match=r"cam\.gradients"):
        tiny(photo, WORDS)
    tiny(photo, WORDS)
