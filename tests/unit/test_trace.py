"""Trace: derived values, and files that are whole, damaged, or of something else."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from carlab import archive
from carlab.archive import KEY, read_archive, write_archive, write_file
from carlab.errors import TraceError
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


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    kept=st.sampled_from([((0, 1), (0,), (0,)), ((),), ((0, 1, 2),), ((2,), (2,))]),
    dtype=st.sampled_from(["float32", "float16", "uint8", "int64", "bool"]),
)
def test_saved_loads_equal(tmp_path: Path, height: int, width: int, kept: object, dtype: str) -> None:
    probe = np.arange(6).reshape(2, 3).astype(dtype)
    trace = make_trace(kept=kept, size=(height, width), probes={"cam.raw": probe, "x": np.zeros(0, dtype)})
    again = Trace.load(trace.save(tmp_path / "t.safetensors"))
    assert again == trace
    assert again.steps[0].probes["cam.raw"].dtype == dtype


def test_equality_sees_every_part() -> None:
    trace, other = make_trace(), make_trace()
    assert trace == other
    other.steps[1].masks[0, 0, 0] += 1e-6
    assert trace != other
    assert trace != make_trace(theta=0.31)
    assert trace != "trace"
    nan = make_trace(probes={"x": np.array([np.nan])})
    assert nan == make_trace(probes={"x": np.array([np.nan])})


def test_every_truncation_is_one_error(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(TraceError, match="expected a trace written by carlab") as caught:
            Trace.load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\xff" * 64, b"PK\x03\x04" + bytes(60), b"\x89PNG\r\n\x1a\n" + bytes(99)]
)
def test_other_files_are_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(TraceError):
        Trace.load(tmp_path / "t")


def test_other_safetensors_are_one_error(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3)}, tmp_path / "t")
    with pytest.raises(TraceError, match="something else"):
        Trace.load(tmp_path / "t")


def test_missing_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "no", tmp_path):
        with pytest.raises(TraceError):
            Trace.load(path)


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


def test_a_file_is_plain_safetensors_with_json(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    assert load_file(path)["step0.cams"].shape == (3, 6, 9)
    assert read_archive(path)[1]["queries"] == ["cat", "dog", "sofa"]
    assert KEY.encode() in path.read_bytes()[:4000]
    assert json.dumps(read_archive(path)[1])


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.os, "fsync", full)
    with pytest.raises(TraceError, match="No space left"):
        make_trace(theta=0.5).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/t", "file/t"])
def test_places_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match="expected a place that can be written"):
        write_file(tmp_path / place, b"x")


def test_reading_and_showing_imports_no_torch(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    code = (
        "import sys, carlab\n"
        "assert 'numpy' not in sys.modules, 'import carlab is not lazy'\n"
        f"trace = carlab.Trace.load({str(path)!r})\n"
        "from carlab.figures import overlay_figure, recurrence_figure, save_figure\n"
        "str(trace), trace._repr_html_(), trace.labels, recurrence_figure(trace)\n"
        f"save_figure(overlay_figure(trace), {str(tmp_path / 'o.png')!r})\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
