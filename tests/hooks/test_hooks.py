"""Probes and costs alone: scope, order, and what may not be edited."""

from contextlib import suppress

import numpy as np
import pytest
import torch

from carlab.errors import ProbeError
from carlab.hooks import as_numpy, count, edit, measure, open_edits, probe, record, timed


def test_without_hooks_the_value_itself_passes() -> None:
    value = np.ones(2)
    assert probe("filter.scores", value) is value


def test_recorders_nest_and_keep_copies() -> None:
    value = np.ones(2)
    with record("filter.*") as outer:
        with record("cam.*", "filter.scores") as inner:
            probe("filter.scores", value)
        value[:] = 7
        probe("cam.raw", value)
    np.testing.assert_array_equal(inner["filter.scores"], 1)
    np.testing.assert_array_equal(outer["filter.scores"], 1)
    assert "cam.raw" not in outer.keys() | inner.keys()


def test_edits_apply_in_order_and_are_what_is_recorded() -> None:
    with edit("filter.scores", lambda v: v + 1), edit("filter.scores", lambda v: v * 10), record("*") as seen:
        assert probe("filter.scores", np.ones(1)).tolist() == [20]
    assert seen["filter.scores"].tolist() == [20]
    assert not open_edits.get()


@pytest.mark.parametrize(
    "bad", [lambda v: v[:1], lambda v: v.astype("float32"), lambda v: v.tolist(), lambda v: None]
)
def test_an_edit_must_keep_shape_and_type(bad: object) -> None:
    with edit("filter.scores", bad), pytest.raises(ProbeError, match=r"must return a ndarray \(2,\) float64"):
        probe("filter.scores", np.ones(2))


def test_unknown_names() -> None:
    with pytest.raises(ProbeError, match="cam.activations"), record("cma.*"):
        pass
    with pytest.raises(ProbeError), edit("cam.*", lambda v: v):
        pass


def test_tensors_become_numpy() -> None:
    for dtype, expected in (
        (torch.bfloat16, np.float32),
        (torch.float64, np.float64),
        (torch.int64, np.int64),
    ):
        assert as_numpy(torch.ones(2, dtype=dtype)).dtype == expected
    assert as_numpy(torch.ones(1, requires_grad=True)).tolist() == [1]


def test_measurements_nest_and_survive_exceptions() -> None:
    with measure() as outer:
        count("a")
        with suppress(ValueError), measure() as inner, timed("b"):
            count("a", 2)
            raise ValueError
    count("a", 100)
    assert (outer.passes, inner.passes) == ({"a": 3}, {"a": 2})
    assert outer.seconds.keys() == {"b"}
