"""Laws of the recurrence, for any queries and thresholds."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from carlab.recurrence import ClipAsRnn
from carlab.settings import change
from carlab.stages.classifier import ENSEMBLES
from carlab.stages.filter import Threshold
from carlab.trace import Trace

NAMES = ("cat", "dog", "red car", "bottle", "train", "sofa", "猫", "قطة")
queries = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True)
thetas = st.floats(0, 1)
CASES = int(os.environ.get("CARLAB_CASES", "25"))
"""Of each law; `python -m benchmarks.reliability laws` sets more."""
relaxed = settings(max_examples=CASES, suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(model: ClipAsRnn, photo: np.ndarray, names: list[str], theta: float, keep_best: bool) -> Trace:
    return replace(model, filter=Threshold(theta, keep_best))(photo, names)


@relaxed
@given(names=queries, theta=thetas, keep_best=st.booleans())
def test_active_sets_only_shrink(
    tiny: ClipAsRnn, photo: np.ndarray, names: list[str], theta: float, keep_best: bool
) -> None:
    trace = run(tiny, photo, names, theta, keep_best)
    assert trace.steps[0].active.tolist() == list(range(len(names)))
    assert len(trace.steps) <= len(names) + 1
    for before, after in zip(trace.steps, trace.steps[1:], strict=False):
        assert after.active.tolist() == before.survivors.tolist()
    last = trace.steps[-1]
    assert (trace.stop == "fixed point") == bool(last.kept.all())
    assert (trace.stop == "nothing present") == (not last.kept.any())
    assert keep_best <= bool(last.kept.any())
    assert len(trace.refined) == len(trace.survivors)


@relaxed
@given(names=queries, theta=thetas)
def test_rows_of_probs_sum_to_one_and_decide(
    tiny: ClipAsRnn, photo: np.ndarray, names: list[str], theta: float
) -> None:
    for step in run(tiny, photo, names, theta, False).steps:
        np.testing.assert_allclose(step.probs.sum(axis=1), 1, atol=1e-5)
        assert step.kept.tolist() == (np.diagonal(step.probs) > np.float32(theta)).tolist()
        for maps in (step.cams, step.masks):
            assert maps.min() >= 0
            assert maps.max() <= 1


@relaxed
@given(names=queries, theta=thetas, seed=st.integers(0, 99))
def test_permuting_queries_permutes_the_trace(
    tiny_double: ClipAsRnn, photo: np.ndarray, names: list[str], theta: float, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(names))
    straight = run(tiny_double, photo, names, theta, False)
    # A score within rounding of theta may be kept or dropped, and with it everything after it.
    assume(np.nanmin(np.abs(straight.scores - theta)) > 1e-5)
    shuffled = run(tiny_double, photo, [names[k] for k in order], theta, False)
    assert len(shuffled.steps) == len(straight.steps)
    np.testing.assert_allclose(shuffled.scores, straight.scores[:, order], atol=1e-5)
    assert set(shuffled.found) == set(straight.found)


@relaxed
@given(names=queries, theta=thetas, record=st.sampled_from([(), ("cam.*",), ("*",)]))
def test_a_saved_trace_loads_equal(
    tiny: ClipAsRnn,
    photo: np.ndarray,
    tmp_path: Path,
    names: list[str],
    theta: float,
    record: tuple[str, ...],
) -> None:
    trace = replace(tiny, filter=Threshold(theta, False))(photo, names, record=record)
    assert Trace.load(trace.save(tmp_path / "trace.safetensors")) == trace


@given(
    draws=st.integers(0, 2**32 - 1),
    chosen=st.sets(st.integers(0, 5), min_size=1),
    ensemble=st.sampled_from(ENSEMBLES),
)
def test_other_queries_never_change_an_absolute_score(
    tiny_sigmoid: ClipAsRnn, draws: int, chosen: set[int], ensemble: str
) -> None:
    """For the same prompted images; a softmax shares the same total among more."""
    rng = np.random.default_rng(draws)
    scaled = replace(tiny_sigmoid.classifier, score="sigmoid", ensemble=ensemble)
    images = rng.standard_normal((6, 64)).astype(np.float32)
    texts = rng.standard_normal((3 if ensemble == "probabilities" else 1, 6, 64)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=-1, keepdims=True)
    some = np.array(sorted(chosen))
    everything, few = scaled(images, texts, np.arange(6)), scaled(images[some], texts, some)
    assert ((everything >= 0) & (everything <= 1)).all()
    np.testing.assert_allclose(few, everything[np.ix_(some, some)], atol=1e-6)
    shares = replace(scaled, score="softmax")
    if len(some) < 6:
        full = shares(images, texts, np.arange(6))[np.ix_(some, some)]
        assert np.abs(shares(images[some], texts, some) - full).max() > 1e-4


@relaxed
@given(names=queries, theta=thetas)
def test_an_absolute_score_finds_each_query_as_if_alone(
    tiny_sigmoid: ClipAsRnn, photo: np.ndarray, names: list[str], theta: float
) -> None:
    """Where masks do not depend on the other queries either (referring use), no query knows of another."""
    model = change(tiny_sigmoid, score="sigmoid", refer=True, theta=theta, keep_best=False)
    together = model(photo, names)
    assume(np.nanmin(np.abs(together.scores - theta)) > 1e-5)
    alone = [model(photo, [name]) for name in names]
    np.testing.assert_allclose(together.scores[0], [one.scores[0, 0] for one in alone], atol=1e-5)
    assert together.found == tuple(name for one in alone for name in one.found)


@relaxed
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_any_size_of_photo(tiny: ClipAsRnn, height: int, width: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    trace = tiny(picture, ["cat", "dog"])
    assert trace.labels.shape == (height, width)
    assert trace.masks(0).shape == (2, height, width)


@pytest.mark.parametrize("shape", [(3, 900), (900, 3)])
def test_a_photo_as_thin_as_a_line(tiny: ClipAsRnn, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert tiny(picture, ["cat", "dog"]).labels.shape == shape


def test_a_run_is_repeatable(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    first, second = (tiny(photo, ["cat", "dog", "sofa"]) for _ in range(2))
    for a, b in zip(first.steps, second.steps, strict=True):
        np.testing.assert_array_equal(a.probs, b.probs)
        np.testing.assert_array_equal(a.masks, b.masks)
