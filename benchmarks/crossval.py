"""Choose a setting by cross-validation over images: on all folds but one, and score it on that one."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from jaxtyping import Int64

from carlab.metrics.intervals import Terms
from carlab.metrics.semantic import Tally, iou_terms

FOLDS = 8
Value = TypeVar("Value", bound=Hashable)

Rows = Int64[np.ndarray, "n m"]
"""The tally of each image, as one row."""


def miou(rows: Rows) -> Terms:
    """Return the mIoU over all classes and background."""
    return iou_terms(Tally.of(rows), background=True)


def chosen(found: Mapping[Value, Rows], folds: int = FOLDS) -> tuple[list[Value], Rows]:
    """Return the value that each fold's other images choose, and the counts of each image under its fold's.

    Image i is in fold i mod `folds`. Of values that score the same the first is chosen.
    """
    fold = np.arange(len(next(iter(found.values())))) % folds
    picks = [best({value: rows[fold != k] for value, rows in found.items()}) for k in range(folds)]
    return picks, np.stack([found[picks[k]][image] for image, k in enumerate(fold)])


def best(found: Mapping[Value, Rows]) -> Value:
    """Return the value with the highest mIoU."""
    return max(found, key=lambda value: miou(found[value]).score)
