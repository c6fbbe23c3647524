"""What the file of a trace must hold: types, ranges, lengths, and which parts belong together."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from jaxtyping import jaxtyped
from msgspec import Meta

from carlab.files.images import MAX_PIXELS
from carlab.files.schema import Count, Number, Text, convert
from carlab.queries import MOST_QUERIES

MOST_STEPS = 1000
"""Steps of the longest run."""


class FilterSettings(msgspec.Struct):
    """What is read of a filter's settings; other filters than a threshold have no theta."""

    theta: Number | list[Any] | None = None


class ReadSettings(msgspec.Struct):
    """The settings that figures and tables read; a stage that is no dataclass is a text."""

    filter: FilterSettings | str = ""
    mask_threshold: Number = 0.5


class Metadata(msgspec.Struct):
    """The JSON part of a trace."""

    format: int
    stop: Text
    queries: Annotated[list[Text], Meta(min_length=1, max_length=MOST_QUERIES)]
    background: Annotated[list[Text], Meta(max_length=MOST_QUERIES)]
    settings: dict[str, Any]
    provenance: dict[str, Text]
    seconds: dict[str, Number]
    passes: dict[str, Count]
    step_seconds: Annotated[list[dict[str, Number]], Meta(min_length=1, max_length=MOST_STEPS)]

    def __post_init__(self) -> None:
        """Raise ValueError if a query is there twice, or a setting that is read is of another type."""
        if len(set(self.queries)) < len(self.queries):
            raise ValueError("a query is there twice")
        convert(self.settings, ReadSettings)


Arrays = Mapping[str, np.ndarray]


def check_whole(
    image: np.ndarray, packed: np.ndarray, steps: Sequence[Arrays], queries: int, declared: Mapping[str, Any]
) -> None:
    """Raise ValueError unless all arrays are as declared and belong together: a file may hold anything.

    Parameters
    ----------
    image, steps, queries
        The image, the arrays of each step, and how many queries there are.
    packed
        The final masks as bits, eight columns a byte: not unpacked before they are known to fit.
    declared
        The type of each array.
    """
    fits = (
        isinstance(image, declared["image"])
        and 0 < image.size <= 3 * MAX_PIXELS
        and all(_step_fits(step, declared) for step in steps)
        and _recurs(steps, queries)
        and packed.dtype == np.uint8
        and packed.shape == (steps[-1]["kept"].sum(), len(image), -(-image.shape[1] // 8))
    )
    if not fits:
        raise ValueError("the parts do not belong together")


@jaxtyped(typechecker=None)
def _step_fits(arrays: Arrays, declared: Mapping[str, Any]) -> bool:
    """Whether the arrays are as declared, their axis letters agree, and their numbers are finite."""
    return (
        all(isinstance(array, declared[name]) for name, array in arrays.items())
        and all(array.size for array in arrays.values())
        and all(bool(np.isfinite(arrays[name]).all()) for name in ("cams", "masks", "probs"))
    )


def _recurs(steps: Sequence[Arrays], queries: int) -> bool:
    """Whether the first step has every query, and each later one those that the step before kept."""
    left = np.arange(queries)
    for step in steps:
        if not np.array_equal(step["active"], left):
            return False
        left = left[step["kept"]]
    return True
