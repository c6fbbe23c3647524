"""Which words the recurrence kept: precision and recall against what the image holds, step by step."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Kept(NamedTuple):
    """Words still kept after a step, over all images: right ones, kept ones, and true ones."""

    right: int
    kept: int
    true: int

    @property
    def precision(self) -> float:
        """Share of the kept words that are true; NaN if none was kept."""
        return self.right / self.kept if self.kept else float("nan")

    @property
    def recall(self) -> float:
        """Share of the true words that were kept; NaN if none is true."""
        return self.right / self.true if self.true else float("nan")


def kept_by_step(images: Iterable[tuple[Sequence[Sequence[int]], Sequence[int]]]) -> list[Kept]:
    """Counts after each step, over images given as (words kept after each step, true words).

    An image that had stopped earlier counts with its last step.
    """
    images = list(images)
    steps = max((len(kept) for kept, _ in images), default=0)
    table = []
    for t in range(steps):
        pairs = [(set(kept[min(t, len(kept) - 1)]), set(true)) for kept, true in images]
        table.append(
            Kept(
                sum(len(k & t) for k, t in pairs),
                sum(len(k) for k, _ in pairs),
                sum(len(t) for _, t in pairs),
            )
        )
    return table
