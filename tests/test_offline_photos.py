"""The embedded default on the photos that ship with scikit-image: right words kept, wrong ones dropped."""

from collections.abc import Callable

import numpy as np
import pytest
from skimage import data

import carlab
from carlab.recurrence import ClipAsRnn

WRONG = ["banana", "laptop", "bird"]


def ellipse(shape: tuple[int, int], row: float, column: float, height: float, width: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1


@pytest.mark.parametrize(
    ("photo", "right", "place", "most"),
    [
        (data.chelsea, "cat", (150, 190, 110, 120), 0.9),  # the cat fills the photo
        (data.coffee, "coffee cup", (130, 290, 90, 110), 0.6),
        (data.rocket, "rocket", (240, 323, 90, 9), 0.4),
    ],
)
def test_what_is_there(
    offline: ClipAsRnn, photo: Callable[[], np.ndarray], right: str, place: tuple[float, ...], most: float
) -> None:
    """The mask covers most of an ellipse drawn by eye on the object, and not the photo's corners."""
    trace = offline(photo(), [*WRONG[:1], right, *WRONG[1:]])
    assert trace.found == (right,)
    mask = trace.refined[0]
    assert mask[ellipse(mask.shape, *place)].mean() > 0.8
    assert mask[:20, :20].mean() < 0.5
    assert mask.mean() < most


def test_segment_in_one_line() -> None:
    trace = carlab.segment(data.chelsea(), ["dog", "cat"])
    assert trace.found == ("cat",)
    assert trace.provenance["preset"] == "offline"
    assert "not CLIP" in str(trace)
    assert "not CLIP" in trace._repr_html_()
