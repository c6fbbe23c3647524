"""Traces that somebody made to break a reader: one line of error, little memory, and no other exception."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carlab.errors import TraceError
from carlab.figures.inspection import probe_figure
from carlab.files.archive import write_archive
from carlab.trace import Trace
from carlab.trace.stored import MOST_STEPS
from carlab.widgets import ProbeInspector
from tests.hostile.bounded import refused
from tests.torture.mutate import nested
from tests.torture.targets import attempt, rewrite_metadata, show_trace
from tests.traces import make_trace


def complaint(path: Path) -> str:
    with pytest.raises(TraceError) as caught:
        Trace.load(path)
    message = str(caught.value)
    assert message.startswith("expected") and message.isprintable() and len(message) <= 300
    return message


def saved(path: Path, arrays: dict[str, Any] | None = None, **said: Any) -> Path:
    """A trace with other arrays or metadata, whether JSON has such numbers or not."""
    mine, metadata = make_trace().to_arrays()
    write_archive(path, mine | (arrays or {}), {})
    rewrite_metadata(path, json.dumps(metadata | said))
    return path


WRONG: dict[str, dict[str, Any]] = {
    "endless number": {"seconds": {"trunk": 10**400}},
    "endless integer": {"passes": {"trunk": 10**400}},
    "NaN": {"seconds": {"trunk": float("nan")}},
    "deep settings": {"settings": nested(300)},
    "deeper settings": {"settings": {"a": nested(40)}},
    "a long stop": {"stop": 200_000 * "x"},
    "a query twice": {"queries": ["cat", "cat", "dog"]},
    "half a letter": {"queries": ["cat", "dog", "\ud800"]},
    "negative passes": {"passes": {"trunk": -1}},
    "theta of text": {"settings": {"filter": {"theta": "high"}}},
    "no settings": {"settings": None},
}


@pytest.mark.parametrize("name", WRONG)
def test_metadata_that_is_wrong(name: str, tmp_path: Path) -> None:
    complaint(saved(tmp_path / "t", **WRONG[name]))


ODD: dict[str, dict[str, np.ndarray]] = {
    "NaN scores": {"step0.probs": np.full((3, 3), np.nan, np.float32)},
    "an infinite map": {"step0.masks": np.full((3, 6, 9), np.inf, np.float32)},
    "a map without a patch": {"step0.cams": np.zeros((3, 0, 9), np.float32)},
    "an image without a pixel": {"image": np.zeros((0, 70, 3), np.uint8)},
    "a step that does not follow": {"step1.active": np.array([0, 2])},
    "a first step without a query": {"step0.active": np.array([0, 1])},
}


@pytest.mark.parametrize("name", ODD)
def test_arrays_that_are_wrong(name: str, tmp_path: Path) -> None:
    complaint(saved(tmp_path / "t", ODD[name]))


def test_a_dtype_that_numpy_has_not(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t")
    path.write_bytes(path.read_bytes().replace(b'"dtype":"BOOL"', b'"dtype":"F8E4"'))
    assert "F8E4" in complaint(path)


def test_no_more_of_a_file_is_quoted_than_a_line(tmp_path: Path) -> None:
    complaint(saved(tmp_path / "t", format=10_000 * "\x1b[31m"))
    path = make_trace().save(tmp_path / ("n" * 200))
    path.write_bytes(path.read_bytes().replace(b'"dtype":"BOOL"', b'"dtype":"' + 10_000 * b"x" + b'"'))
    complaint(path)


def test_special_files_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        assert "special file" in complaint(path)
    assert "a folder" in complaint(tmp_path)


def test_claims_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    """200,000 final masks of 10,000 columns: 4 GB as bits unpacked, 245 kB in the file."""
    bits, wide = np.zeros((200_000, 1, 1), np.uint8), np.zeros((1, 10_000, 3), np.uint8)
    path = saved(tmp_path / "t", {"refined": bits, "image": wide})
    assert path.stat().st_size < 300_000
    message = refused("from carlab.trace import Trace", f"Trace.load({str(path)!r})", megabytes=100)
    assert "do not belong together" in message


@pytest.mark.parametrize("many", ["queries", "steps"])
def test_more_than_any_run_has(many: str, tmp_path: Path) -> None:
    if many == "queries":
        path = saved(tmp_path / "t", queries=[str(k) for k in range(100_000)])
    else:
        step, _ = make_trace(["cat"], kept=((0,),)).to_arrays()
        steps = {
            name.replace("step0", f"step{t}"): array
            for t in range(2 * MOST_STEPS)
            for name, array in step.items()
            if name.startswith("step0")
        }
        path = saved(tmp_path / "t", step | steps, queries=["cat"], step_seconds=[{}] * 2 * MOST_STEPS)
    assert "length <=" in complaint(path)


def test_the_longest_run_can_be_shown() -> None:
    trace = make_trace(["cat"], kept=((0,),) * MOST_STEPS, picture=4)
    show_trace(trace)


SHAPES = [
    (),
    (0,),
    (1,),
    (5,),
    (2, 3),
    (0, 3),
    (54, 54),
    (54, 3),
    (1, 2, 3),
    (3, 6, 9),
    (1, 1, 1, 3),
    (2,) * 6,
]
PROBED = ["affinity.attention", "cam.raw", "filter.scores", "refine.regions", "classify.pictures", "own.name"]


@pytest.mark.parametrize("name", PROBED)
def test_a_probe_of_any_shape_is_drawn(name: str) -> None:
    for shape in SHAPES:
        for dtype in ("float32", "uint8", "bool", "float64"):
            trace = make_trace(probes={name: np.ones(shape, dtype)})
            probe_figure(trace, 0, name)
    view = ProbeInspector(make_trace(probes={name: np.ones((2, 3), np.float32)}))
    for shape in SHAPES:
        view.trace = make_trace(probes={name: np.full(shape, np.nan)})


def test_settings_of_stages_of_ones_own_are_no_numbers(tmp_path: Path) -> None:
    """A filter that is a function is a text in the settings."""
    path = saved(tmp_path / "t", settings={"filter": "own.keep_all", "classifier": "own.score"})
    trace = Trace.load(path)
    show_trace(trace)
    assert np.isnan(trace.threshold)


@pytest.mark.parametrize("number", range(20))
def test_damage_at_random(number: int, tmp_path: Path) -> None:
    attempt("trace", number, tmp_path)
