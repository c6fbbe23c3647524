"""Smoothing over time, by plain loops: hysteresis in lock-step, masks along the flow and by features."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from carlab import hooks
from carlab.errors import ImageError, SettingError
from carlab.recurrence import ClipAsRnn
from carlab.stages.filter import Threshold
from carlab.trace import Trace
from carlab.trace.provenance import settings
from carlab.video.carry import FeatureMatch, MaskSmoothing, OpticalFlow, View
from carlab.video.frames import Frame
from carlab.video.hysteresis import Hysteresis
from carlab.video.segment import Smoothing, segment_frames
from tests.video.clips import frames_of, moving

WORDS = ["cat", "dog", "red car", "bottle"]


@pytest.fixture(scope="module")
def model(tiny_double: ClipAsRnn) -> ClipAsRnn:
    return replace(tiny_double, filter=Threshold(0.26, keep_best=True))


def run(model: ClipAsRnn, frames: Any, **options: Any) -> list[Trace]:
    found = [one.trace for one in segment_frames(model, frames, WORDS, workers=0, **options)]
    assert all(isinstance(trace, Trace) for trace in found)
    return found


@pytest.mark.parametrize("together", [1, 3])
def test_without_smoothing_each_frame_is_by_itself(model: ClipAsRnn, together: int) -> None:
    pictures = moving(5)
    for trace, picture in zip(run(model, frames_of(pictures), together=together), pictures, strict=True):
        alone = model(picture, WORDS)
        assert trace.settings == alone.settings
        assert trace.found == alone.found
        np.testing.assert_allclose(trace.scores, alone.scores, atol=1e-9)
        np.testing.assert_array_equal(trace.refined, alone.refined)


def by_hand(model: ClipAsRnn, pictures: list[np.ndarray], share: float) -> list[list[list[int]]]:
    """Frame after frame, one by one, with a filter that knows everything of the previous frame."""
    found: list[list[list[int]]] = []
    for picture in pictures:
        steps: list[list[int]] = []

        def keep(probs: np.ndarray, steps: list[list[int]] = steps) -> np.ndarray:
            t, active = len(steps), steps[-1] if steps else list(range(len(WORDS)))
            previous = found[-1] if found else [[]]
            before = previous[min(t, len(previous) - 1)]
            theta = model.filter.theta
            kept = [probs[k, k] > (share * theta if q in before else theta) for k, q in enumerate(active)]
            if not any(kept):
                kept[int(np.argmax(np.diagonal(probs)))] = True
            steps.append([q for q, stays in zip(active, kept, strict=True) if stays])
            return np.array(kept)

        replace(model, filter=keep)(picture, WORDS)
        found.append(steps)
    return found


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("together", [1, 4])
def test_hysteresis_in_lock_step_is_that_of_one_frame_after_another(
    model: ClipAsRnn, share: float, together: int
) -> None:
    pictures = moving(9)
    expected = by_hand(model, pictures, share)
    traces = run(model, frames_of(pictures), smoothing=Smoothing(Hysteresis(share)), together=together)
    assert [[step.survivors.tolist() for step in trace.steps] for trace in traces] == expected
    plain = [trace.survivors.tolist() for trace in run(model, frames_of(pictures))]
    if share < 0.9:
        assert [steps[-1] for steps in expected] != plain, "hysteresis changed nothing: this shows nothing"


def test_a_share_of_one_is_the_papers(model: ClipAsRnn) -> None:
    pictures = moving(6)
    traces = run(model, frames_of(pictures), smoothing=Smoothing(Hysteresis(1.0)))
    for trace, plain in zip(traces, run(model, frames_of(pictures)), strict=True):
        assert trace.found == plain.found


def test_a_score_near_theta_does_not_flicker() -> None:
    """A Schmitt trigger, on numbers: in at theta, out at half of it."""
    kept, before = [], np.array([False])
    for score in (0.39, 0.41, 0.39, 0.41, 0.3, 0.21, 0.19, 0.3, 0.41):
        before = Hysteresis(0.5)(Threshold(0.4, keep_best=False), np.array([[score]], np.float32), before)
        kept.append(bool(before[0]))
    assert kept == [False, True, True, True, True, True, False, False, True]


def test_a_run_goes_on_where_it_was(model: ClipAsRnn) -> None:
    frames = frames_of(moving(8))
    smoothing = Smoothing(Hysteresis(), MaskSmoothing(FeatureMatch()))
    whole = list(segment_frames(model, frames, WORDS, smoothing=smoothing, workers=0))
    rest = list(segment_frames(model, frames[4:], WORDS, smoothing=smoothing, past=whole[3].past, workers=0))
    assert [one.trace for one in rest] == [one.trace for one in whole[4:]]


def test_a_frame_that_failed_ends_the_memory(model: ClipAsRnn) -> None:
    pictures: list[Any] = moving(6)
    frames = frames_of(pictures)
    frames[2] = Frame(2, 0.1, ImageError("expected an image, got none; look"))
    smoothing = Smoothing(Hysteresis(), MaskSmoothing(OpticalFlow()))
    found = list(segment_frames(model, frames, WORDS, smoothing=smoothing, workers=0, together=1))
    assert isinstance(found[2].trace, ImageError)
    anew = run(model, frames[3:], smoothing=smoothing, together=1)
    assert [one.trace for one in found[3:]] == anew


def test_the_trace_says_how_it_was_smoothed(model: ClipAsRnn) -> None:
    smoothing = Smoothing(Hysteresis(0.4), MaskSmoothing(FeatureMatch(radius=3), 0.7))
    (trace,) = run(model, frames_of(moving(1)), smoothing=smoothing)
    assert trace.settings["filter"] == settings(model.filter)
    assert trace.settings["smoothing"] == {
        "queries": {"stage": "Hysteresis", "share": 0.4},
        "masks": {
            "stage": "MaskSmoothing",
            "carrier": {"stage": "FeatureMatch", "nearest": 5, "radius": 3, "temperature": 0.1},
            "weight": 0.7,
        },
    }
    assert trace.threshold == model.filter.theta
    assert trace.probes == {}


def test_probes_of_the_caller_stay(model: ClipAsRnn) -> None:
    smoothing = Smoothing(masks=MaskSmoothing(FeatureMatch()))
    with hooks.record("cam.activations"):
        (trace,) = run(model, frames_of(moving(1)), smoothing=smoothing)
    assert list(trace.probes) == ["cam.activations"]
    stream = segment_frames(model, frames_of(moving(2)), WORDS, smoothing=smoothing, workers=0)
    next(stream)
    assert "cam.activations" not in model(moving(1)[0], WORDS).probes


def smoothed_by_loops(model: ClipAsRnn, pictures: list[np.ndarray], weight: float) -> list[dict[str, Any]]:
    """docs/video.md: level = (1 - weight) own + weight carried, cut at a half; the carrier moves nothing."""
    levels: dict[int, np.ndarray] = {}
    found = []
    for picture in pictures:
        plain = model(picture, WORDS)
        now: dict[int, np.ndarray] = {}
        for query, mask in zip(plain.survivors.tolist(), plain.refined, strict=True):
            level = mask.astype(float)
            if query in levels:
                level = (1 - weight) * level + weight * levels[query]
            now[query] = np.round(level * 255) / 255
        levels = now
        found.append({query: level > 0.5 for query, level in levels.items()})
    return found


class Still:
    """Carries masks to where they were."""

    needs = ()

    def __call__(self, before: View, now: View, masks: np.ndarray) -> np.ndarray:
        return masks


@pytest.mark.parametrize("weight", [0.3, 0.6, 0.75])
def test_masks_are_blended_as_written(model: ClipAsRnn, weight: float) -> None:
    pictures = moving(7)
    expected = smoothed_by_loops(model, pictures, weight)
    smoothing = Smoothing(masks=MaskSmoothing(Still(), weight))
    changed = False
    for trace, masks, picture in zip(
        run(model, frames_of(pictures), smoothing=smoothing), expected, pictures, strict=True
    ):
        assert trace.survivors.tolist() == sorted(masks)
        for query, mask in masks.items():
            np.testing.assert_array_equal(trace.refined[trace.survivors == query][0], mask)
        changed |= bool((trace.refined != model(picture, WORDS).refined).any())
    assert changed == (weight > 0.5)


def test_a_weight_of_zero_is_the_papers(model: ClipAsRnn) -> None:
    pictures = moving(4)
    traces = run(model, frames_of(pictures), smoothing=Smoothing(masks=MaskSmoothing(OpticalFlow(), 0.0)))
    for trace, plain in zip(traces, run(model, frames_of(pictures)), strict=True):
        np.testing.assert_array_equal(trace.refined, plain.refined)


GREY = np.zeros((4, 4, 3), np.uint8)


def view(image: np.ndarray, tokens: np.ndarray | None = None, grid: tuple[int, int] = (1, 1)) -> View:
    return View(image, np.zeros((0, 1), np.float32) if tokens is None else tokens, grid)


def test_optical_flow_follows_what_moves() -> None:
    """A textured square moves by (3, -5) pixels over a still ground."""
    rng = np.random.default_rng(0)
    ground = np.full((96, 128, 3), 120, np.uint8)
    square = rng.integers(0, 255, (24, 24, 1), dtype=np.uint8).repeat(3, 2)
    square = np.kron(square[::4, ::4, 0], np.ones((4, 4), np.uint8))[..., None].repeat(3, 2)
    before, now = ground.copy(), ground.copy()
    before[30:54, 50:74], now[33:57, 45:69] = square, square
    masks = np.zeros((1, 96, 128), np.float32)
    masks[0, 30:54, 50:74] = 1
    truth = np.zeros((96, 128), bool)
    truth[33:57, 45:69] = True
    carried = OpticalFlow()(view(before), view(now), masks)[0] > 0.5
    iou = (carried & truth).sum() / (carried | truth).sum()
    still = ((masks[0] > 0.5) & truth).sum() / ((masks[0] > 0.5) | truth).sum()
    assert iou > 0.85 > still


def carried_by_loops(
    now: np.ndarray, before: np.ndarray, mask: np.ndarray, radius: int, nearest: int
) -> np.ndarray:
    rows, columns = mask.shape
    mean = now.mean(0)
    found = np.zeros(mask.shape)
    for p in range(rows * columns):
        candidates = []
        for q in range(rows * columns):
            if max(abs(p // columns - q // columns), abs(p % columns - q % columns)) <= radius:
                a, b = now[p] - mean, before[q] - mean
                cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
                candidates.append((cosine, mask[q // columns, q % columns]))
        best = sorted(candidates, key=lambda one: -one[0])[:nearest]
        weights = [np.exp(cosine / 0.1) for cosine, _ in best]
        total = sum(weight * value for weight, (_, value) in zip(weights, best, strict=True))
        found[p // columns, p % columns] = total / sum(weights)
    return found


@pytest.mark.parametrize(("radius", "nearest"), [(12, 5), (1, 3), (0, 5)])
def test_features_by_plain_loops(radius: int, nearest: int) -> None:
    rng = np.random.default_rng(1)
    now, before = rng.normal(size=(2, 20, 6)).astype(np.float32)
    masks = rng.random((2, 4, 5)).astype(np.float32)
    image = np.zeros((8, 10, 3), np.uint8)
    views = view(image, before, (4, 5)), view(image, now, (4, 5))
    found = FeatureMatch(nearest, radius).carried(*views, masks)
    for carried, mask in zip(found, masks, strict=True):
        np.testing.assert_allclose(carried, carried_by_loops(now, before, mask, radius, nearest), atol=1e-5)


def test_features_are_those_of_the_proposer(model: ClipAsRnn) -> None:
    seen: list[View] = []

    class Watch(Still):
        needs = ("cam.activations",)

        def __call__(self, before: View, now: View, masks: np.ndarray) -> np.ndarray:
            seen.extend([before, now])
            return masks

    picture = moving(1)[0]
    run(model, frames_of([picture, picture]), smoothing=Smoothing(masks=MaskSmoothing(Watch())))
    with hooks.record("cam.activations") as recorded:
        model(picture, WORDS)
    assert len(seen) == 2
    for one in seen:
        np.testing.assert_allclose(one.tokens, recorded["cam.activations"], rtol=1e-5, atol=1e-6)
        assert np.prod(one.grid) == len(one.tokens)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Hysteresis(1.5),
        lambda: MaskSmoothing(OpticalFlow(), -0.1),
        lambda: OpticalFlow(side=3),
        lambda: FeatureMatch(nearest=0),
        lambda: FeatureMatch(temperature=0.0),
        lambda: Hysteresis()(lambda probs: np.array([True]), np.ones((1, 1), np.float32), np.array([True])),
        lambda: FeatureMatch().carried(*[view(GREY, grid=(2, 2))] * 2, np.zeros((1, 2, 2), np.float32)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(make: Any) -> None:
    with pytest.raises(SettingError, match="expected .*, got "):
        make()
