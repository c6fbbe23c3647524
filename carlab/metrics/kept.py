"""Precision and recall of the classes that the recurrence keeps, step by step."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Kept(NamedTuple):
    """Classes over all images after a step: kept and true, kept, and true."""

    right: int
    kept: int
    true: int

    @property
    def precision(self) -> float:
        """Share of the kept classes that are true; NaN if none was kept."""
        return self.right / self.kept if self.kept else float("nan")

    @property
    def recall(self) -> float:
        """Share of the true classes that were kept; NaN if none is true."""
        return self.right / self.true if self.true else float("nan")


def kept_by_step(images: Iterable[tuple[Sequence[Sequence[int]], Sequence[int]]]) -> list[Kept]:
    """Count after each step, over images given as (classes kept after each step, true classes).

    An image that stopped earlier counts with its last step.
    """
    sets = [([set(classes) for classes in kept], set(true)) for kept, true in images]
    table = []
    for step in range(max((len(kept) for kept, _ in sets), default=0)):
        pairs = [(kept[min(step, len(kept) - 1)] if kept else set(), true) for kept, true in sets]
        counts = [(len(kept & true), len(kept), len(true)) for kept, true in pairs]
        table.append(Kept(*map(sum, zip(*counts, strict=True))))
    return table
