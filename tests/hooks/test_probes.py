"""Hooks beyond the basics of test_hooks: scope when things fail, nesting, threads, no torch."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from carlab.errors import ProbeError
from carlab.hooks import PROBES, as_numpy, edit, open_edits, probe, record, recorded_patterns

NAME = "filter.scores"


def passes(value: float = 1.0) -> float:
    """What a stage gets back for one number."""
    return float(probe(NAME, np.array([value]))[0])


def test_nothing_stays_when_the_body_fails() -> None:
    with suppress(ZeroDivisionError), record("*") as seen, edit(NAME, lambda v: v * 2):
        passes()
        raise ZeroDivisionError
    assert seen[NAME] == 2
    assert passes() == 1
    assert seen[NAME] == 2
    assert not open_edits.get()
    assert recorded_patterns() == ()


def test_an_edit_that_fails_is_the_users_own_error() -> None:
    with pytest.raises(ZeroDivisionError), edit(NAME, lambda v: v * (1 // 0)):
        passes()
    assert passes() == 1


def test_a_bad_edit_is_undone_with_its_scope() -> None:
    with edit(NAME, lambda v: v + 1):
        with (
            pytest.raises(ProbeError, match=r"got ndarray \(2,\) float64"),
            edit(NAME, lambda v: v.repeat(2)),
        ):
            passes()
        assert passes() == 2
    assert passes() == 1


@pytest.mark.parametrize(
    ("bad", "came"),
    [
        (lambda v: v[:, None], r"ndarray \(1, 1\) float64"),
        (lambda v: v[0], r"float64 \(\) float64"),
        (lambda v: v > 0, r"ndarray \(1,\) bool"),
        (lambda v: v.astype(">f8"), r"ndarray \(1,\) >f8"),
        (lambda v: 1.0, r"float \(\)"),
        (lambda v: None, r"NoneType \(\)"),
    ],
)
def test_what_an_edit_may_not_return_is_named(bad: object, came: str) -> None:
    with edit(NAME, bad), pytest.raises(ProbeError, match=came + r".*; return an array like") as caught:
        passes()
    assert len(str(caught.value).splitlines()) == 1


def test_nested_edits_apply_from_the_outside_in() -> None:
    with edit(NAME, lambda v: v + 1):
        with edit(NAME, lambda v: v * 10), edit(NAME, lambda v: v - 5):
            assert passes() == 15
        assert passes() == 2


def test_recorders_see_the_edited_value_wherever_they_open() -> None:
    with record(NAME) as outer, edit(NAME, lambda v: v + 1), record(NAME) as inner:
        passes()
    assert outer[NAME] == inner[NAME] == 2


def test_the_latest_value_is_kept_and_the_list_is_in_order() -> None:
    with record("cam.*", NAME) as seen:
        probe("cam.raw", np.zeros(1))
        passes(1)
        passes(2)
    assert list(seen) == ["cam.raw", NAME]
    assert seen[NAME] == 2


def test_editing_is_known_while_an_edit_is_open() -> None:
    assert not open_edits.get()
    with edit(NAME, lambda v: v):
        assert open_edits.get()
    with record("*"):
        assert not open_edits.get()


def test_an_edit_gets_a_copy() -> None:
    value = np.zeros(2)

    def in_place(given: np.ndarray) -> np.ndarray:
        given += 1
        return given

    with edit(NAME, in_place):
        assert probe(NAME, value).tolist() == [1, 1]
    assert value.tolist() == [0, 0]


def test_patterns_of_all_open_recorders() -> None:
    with record("cam.*"), record(), record(NAME, "*.boxes"):
        assert recorded_patterns() == ("cam.*", NAME, "*.boxes")


@pytest.mark.parametrize("wrong", ["", "cam", "CAM.raw", "cam.raw ", "filter", "[", "%s{}"])
def test_unknown_names_are_told_with_all_that_exist(wrong: str) -> None:
    for scope in (record(wrong), edit(wrong, lambda v: v)):
        with pytest.raises(ProbeError, match="got .*; the probes are cam.activations") as caught, scope:
            pass
        assert all(name in str(caught.value) for name in PROBES)
        assert repr(wrong) in str(caught.value)


def test_hooks_of_one_thread_are_not_those_of_another() -> None:
    with ThreadPoolExecutor(1) as pool, edit(NAME, lambda v: v * 0), record("*") as seen:
        assert pool.submit(passes).result() == 1
        assert not seen


def test_numpy_copies_never_share_memory() -> None:
    value = np.zeros(3)
    copy = as_numpy(value)
    value[:] = 1
    assert not copy.any()
    assert as_numpy(2.5) == np.array(2.5)


def test_hooks_need_no_torch() -> None:
    code = "import sys, carlab.hooks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
