"""What two traces differ in, against set arithmetic written out."""

import numpy as np
import pytest

from carlab.errors import TraceError
from carlab.trace import Trace, compare
from carlab.trace.comparison import differences
from tests.traces import make_trace

A = make_trace(("cat", "dog", "sofa"), kept=((0, 1), (0,), (0,)), theta=0.3)
B = make_trace(("dog", "cup", "cat"), kept=((0, 2), (0, 2)), theta=0.5)


def name_map(trace: Trace) -> np.ndarray:
    """The name of the query that each pixel shows, "" for the background."""
    return np.array(["", *trace.queries])[trace.labels]


def test_a_trace_and_itself() -> None:
    found = compare(A, A)
    assert (found.settings, found.agreement) == ((), 1.0)
    assert found.kept == (((), ()),) * 3
    assert found.iou == {"cat": 1.0, "dog": 1.0, "sofa": 1.0}  # where both are empty, they agree


def test_settings_that_differ_by_their_dotted_names() -> None:
    assert compare(A, B).settings == (
        ("queries", ["cat", "dog", "sofa"], ["dog", "cup", "cat"]),
        ("filter.theta", 0.3, 0.5),
    )
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": 3}) == [("a.c", 2, None), ("d", None, 3)]
    assert differences([1], [1]) == []
    assert differences({"a": 1}, {"a": {"b": 1}}) == [("a", 1, {"b": 1})]


def test_what_only_one_of_them_kept() -> None:
    sets = [
        [{trace.queries[i] for i in step.survivors} for step in trace.steps] + [set(trace.found)] * 3
        for trace in (A, B)
    ]
    for t, (only_a, only_b) in enumerate(compare(A, B).kept):
        assert set(only_a) == sets[0][t] - sets[1][t]
        assert set(only_b) == sets[1][t] - sets[0][t]
    assert compare(A, B).kept[-1] == ((), ("dog",))
    assert len(compare(A, B).kept) == 3


def test_overlap_and_agreement_by_name() -> None:
    found, a, b = compare(A, B), name_map(A), name_map(B)
    assert found.iou.keys() == {"cat", "dog"}
    for name, value in found.iou.items():
        assert value == pytest.approx(((a == name) & (b == name)).sum() / ((a == name) | (b == name)).sum())
    assert found.agreement == pytest.approx((a == b).mean())
    assert 0 < found.agreement < 1


def test_the_two_directions_mirror_each_other() -> None:
    there, back = compare(A, B), compare(B, A)
    assert there.iou == back.iou
    assert there.agreement == back.agreement
    assert [pair[::-1] for pair in there.kept] == list(back.kept)
    assert {name: (was, now) for name, was, now in there.settings} == {
        name: (now, was) for name, was, now in back.settings
    }


def test_another_size_is_refused() -> None:
    with pytest.raises(TraceError, match=r"expected two runs on one image, got \(48, 70\) and \(20, 30\)"):
        compare(A, make_trace(size=(20, 30)))
