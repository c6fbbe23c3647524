"""Trace: derived values, and files that are whole, damaged, or of something else."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carlab.errors import TraceError
from carlab.figures.content import trace_content
from carlab.files.archive import write_archive
from carlab.trace import Trace
from tests.traces import make_trace


def test_scores_are_nan_once_gone() -> None:
    scores = make_trace().scores
    np.testing.assert_allclose(scores, [[0.8, 0.8, 0.12], [0.8, 0.12, np.nan], [0.8, np.nan, np.nan]])


def test_drops_say_when_and_by_how_much() -> None:
    drops = make_trace().drops
    assert [(drop.query, drop.step) for drop in drops] == [(2, 0), (1, 1)]
    np.testing.assert_allclose([drop.margin for drop in drops], 0.18, atol=1e-6)


def test_found_and_survivors() -> None:
    trace = make_trace(kept=[(0, 2), (0, 2)])
    assert trace.found == ("cat", "sofa")
    assert trace.survivors.tolist() == [0, 2]


def test_labels_the_higher_score_wins() -> None:
    trace = make_trace(kept=[(0, 1)])
    trace.refined[:] = True
    trace.steps[-1].probs[0, 0], trace.steps[-1].probs[1, 1] = 0.7, 0.9
    assert (trace.labels == 2).all()
    trace.steps[-1].probs[0, 0] = 0.95
    assert (trace.labels == 1).all()
    trace.refined[0, :5] = False
    assert (trace.labels[:5] == 2).all()


def test_labels_of_nothing() -> None:
    assert not make_trace(kept=[()]).labels.any()


def test_masks_reach_the_pixels() -> None:
    masks = make_trace(size=(60, 90)).masks(0)
    assert masks.shape == (3, 60, 90)
    assert masks.dtype == np.float32
    assert 0 <= masks.min() < masks.max() <= 1


def test_a_stop_reason_of_ones_own_is_saved_and_loaded(tmp_path: Path) -> None:
    trace = replace(make_trace(), stop="score has converged")
    assert Trace.load(trace.save(tmp_path / "t.safetensors")) == trace


def test_equality_leaves_out_what_a_run_cost() -> None:
    trace = make_trace(seconds={"trunk": 1.0})
    slower = replace(trace, seconds={"trunk": 2.0, "vjp": 1.0}, passes={})
    slower = replace(slower, steps=tuple(replace(step, seconds={"vjp": 9.0}) for step in slower.steps))
    assert trace == slower


def test_equality_sees_every_part() -> None:
    trace, other = make_trace(), make_trace()
    assert trace == other
    other.steps[1].masks[0, 0, 0] += 1e-6
    assert trace != other
    assert trace != make_trace(theta=0.31)
    assert trace != "trace"
    nan = make_trace(probes={"x": np.array([np.nan])})
    assert nan == make_trace(probes={"x": np.array([np.nan])})


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    arrays, metadata = make_trace().to_arrays()
    write_archive(tmp_path / "t", arrays, {**metadata, "format": 99})
    with pytest.raises(TraceError, match="expected trace format 1, got 99"):
        Trace.load(tmp_path / "t")


@pytest.mark.parametrize(
    "missing", ["image", "refined", "step0.probs", "step2.kept", "queries", "stop", "step_seconds"]
)
def test_a_missing_part_is_named(tmp_path: Path, missing: str) -> None:
    arrays, metadata = make_trace().to_arrays()
    arrays.pop(missing, None)
    metadata.pop(missing, None)
    write_archive(tmp_path / "t", arrays, metadata)
    with pytest.raises(TraceError, match="part missing"):
        Trace.load(tmp_path / "t")


MISFITS: dict[str, tuple[dict, dict]] = {
    "active beyond the queries": ({"step0.active": np.array([0, 1, 99])}, {}),
    "active below zero": ({"step0.active": np.array([-1, 0, 1])}, {}),
    "active not increasing": ({"step0.active": np.array([0, 0, 1])}, {}),
    "active too short": ({"step0.active": np.array([0])}, {}),
    "active of floats": ({"step0.active": np.arange(3.0)}, {}),
    "probs not square": ({"step0.probs": np.zeros((3, 2), np.float32)}, {}),
    "probs of one axis": ({"step0.probs": np.zeros(3, np.float32)}, {}),
    "probs in double": ({"step0.probs": np.zeros((3, 3))}, {}),
    "kept of integers": ({"step0.kept": np.array([1, 1, 0])}, {}),
    "fewer masks": ({"step0.masks": np.zeros((1, 6, 9), np.float32)}, {}),
    "fewer pictures": ({"step0.prompted": np.zeros((2, 24, 24, 3), np.uint8)}, {}),
    "grey photo": ({"image": np.zeros((48, 70), np.uint8)}, {}),
    "photo of floats": ({"image": np.zeros((48, 70, 3), np.float32)}, {}),
    "final masks too low": ({"refined": np.zeros((1, 4, 9), np.uint8)}, {}),
    "final masks too narrow": ({"refined": np.zeros((1, 48, 8), np.uint8)}, {}),
    "final masks too many": ({"refined": np.zeros((2, 48, 9), np.uint8)}, {}),
    "final masks not packed": ({"refined": np.zeros((1, 48, 70), bool)}, {}),
    "queries of numbers": ({}, {"queries": [1, 2, 3]}),
    "queries too few": ({}, {"queries": ["cat"]}),
    "queries null": ({}, {"queries": None}),
    "no steps": ({}, {"step_seconds": []}),
    "more steps than there are": ({}, {"step_seconds": [{}] * 4}),
    "steps of numbers": ({}, {"step_seconds": [1, 2, 3]}),
    "step times of text": ({}, {"step_seconds": [{"a": "x"}] * 3}),
    "a list for a stop": ({}, {"stop": []}),
    "a number in provenance": ({}, {"provenance": {"preset": 3}}),
    "a list for provenance": ({}, {"provenance": []}),
    "a list for settings": ({}, {"settings": [1]}),
    "no filter": ({}, {"settings": {"filter": None}}),
    "theta of text": ({}, {"settings": {"filter": {"theta": "x"}}}),
    "eta of text": ({}, {"settings": {"mask_threshold": "x"}}),
    "passes null": ({}, {"passes": None}),
    "passes of text": ({}, {"passes": {"a": "b"}}),
    "seconds of text": ({}, {"seconds": {"a": "b"}}),
}
"""Files that are whole, and hold what does not belong together."""


@pytest.mark.parametrize("name", MISFITS)
def test_parts_that_do_not_fit_are_one_error(tmp_path: Path, name: str) -> None:
    arrays, metadata = make_trace().to_arrays()
    path = write_archive(tmp_path / "t", arrays | MISFITS[name][0], metadata | MISFITS[name][1])
    with pytest.raises(TraceError, match="expected a whole trace, got .* with a part missing or misshapen"):
        Trace.load(path)


def test_parts_that_do_not_fit_are_seen_without_beartype_too(tmp_path: Path) -> None:
    """Users have no shapes checked in signatures: the same files, read as they would."""
    arrays, metadata = make_trace().to_arrays()
    for number, (more, said) in enumerate(MISFITS.values()):
        write_archive(tmp_path / f"{number}", arrays | more, metadata | said)
    code = (
        "import sys, carlab, carlab.errors\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        carlab.Trace.load(path)\n"
        "    except carlab.errors.TraceError as error:\n"
        "        assert len(str(error).splitlines()) == 1\n"
        "    else:\n"
        "        raise SystemExit(path)\n"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))], check=True)


def test_damage_anywhere_is_one_error_or_another_trace(tmp_path: Path) -> None:
    """A flipped byte among the pixels cannot be known; no flipped byte may end in another error."""
    path = make_trace().save(tmp_path / "t")
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    header, read = 8 + int.from_bytes(whole[:8], "little"), 0
    for place in [*range(8), *rng.integers(8, header, 150), *rng.integers(header, len(whole), 20)]:
        damaged = whole.copy()
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with suppress(TraceError):
            trace = Trace.load(path)
            read += 1
            assert str(trace)
            assert trace.labels.shape == trace.image.shape[:2]
    assert 20 <= read < 178, "some damage is seen, that of pixels is not"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kept=st.sampled_from([((0, 1), (0,), (0,)), ((),), ((0, 1, 2),), ((2,), (2,)), ((1, 2), ())]),
    dtype=st.sampled_from(["float64", "float32", "float16", "uint8", "int8", "int32", "int64", "bool"]),
    shape=st.sampled_from([(), (0,), (3,), (2, 0, 3), (2, 3)]),
    words=st.lists(st.text(max_size=8), min_size=3, max_size=3, unique=True),
)
def test_saved_loads_equal(
    tmp_path: Path,
    height: int,
    width: int,
    kept: object,
    dtype: str,
    shape: tuple[int, ...],
    words: list[str],
) -> None:
    probe = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    times, made = {"trunk": 0.125}, {"preset": words[0], "torch": "2.13"}
    trace = make_trace(
        words, kept=kept, size=(height, width), probes={"cam.raw": probe, "x.y": probe.T}, seconds=times,
        provenance=made,
    )  # fmt: skip
    again = Trace.load(trace.save(tmp_path / "t.safetensors"))
    assert again == trace
    assert again.queries == tuple(words)
    assert again.steps[0].probes["cam.raw"].dtype == dtype
    assert again.steps[0].probes["cam.raw"].shape == shape
    assert (again.seconds, again.provenance, again.refined.shape[1:]) == (times, made, (height, width))


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    first = make_trace().save(tmp_path / "a")
    assert Trace.load(first).save(tmp_path / "b").read_bytes() == first.read_bytes()


def test_reading_and_showing_imports_no_torch(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    code = (
        "import sys, carlab\n"
        "assert 'numpy' not in sys.modules, 'import carlab is not lazy'\n"
        f"trace = carlab.Trace.load({str(path)!r})\n"
        "str(trace), trace._repr_html_(), trace.labels\n"
        "assert 'matplotlib' not in sys.modules, 'a table needs no figures'\n"
        "from carlab.figures import overlay_figure, recurrence_figure, save_figure, scores_figure\n"
        "recurrence_figure(trace), scores_figure(trace)\n"
        f"save_figure(overlay_figure(trace), {str(tmp_path / 'o.png')!r})\n"
        "assert not {'torch', 'transformers', 'matplotlib.pyplot'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_margins_are_those_of_the_threshold() -> None:
    drops = make_trace(theta=0.5, scores=(0.9, 0.25)).drops
    assert [drop.score for drop in drops] == [0.25, 0.25]
    assert [drop.margin for drop in drops] == [0.25, 0.25]
    assert np.isnan([drop.margin for drop in make_trace(theta=float("nan")).drops]).all()
    assert not make_trace(kept=[(0, 1, 2)]).drops


def test_a_trace_cannot_be_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(make_trace())


def test_scores_that_rounding_decides_are_close_calls() -> None:
    trace = make_trace(theta=0.3, scores=(0.8, 0.3 - 5e-5))
    assert trace.close_calls == ((2, 0), (1, 1))
    (note,) = trace.notes
    assert note.startswith("a close call: sofa at step 1, dog at step 2")
    assert "close call" in str(trace) and "close call" in trace._repr_html_()
    content = trace_content(trace)
    assert content["close"] == [[2, 0], [1, 1]]
    assert not make_trace(theta=0.3, scores=(0.8, 0.3 - 2e-4)).close_calls
    assert not make_trace(theta=float("nan")).close_calls
