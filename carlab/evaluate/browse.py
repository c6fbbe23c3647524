"""The images of a run as rows to sort and filter: scores, classes true and found, and wrongly dropped."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any, NamedTuple

from carlab.evaluate.summary import Summary, entry_ious, entry_names

ORDERS = ("lowest first", "highest first", "most lost", "most gained", "name")
"""By score; "lost" and "gained" against another run."""


class ImageRow(NamedTuple):
    """One image of a run.

    Parameters
    ----------
    id, score, other
        Its id; its score in [0, 1], NaN if there is nothing to score; and that of another run, NaN for none.
    ious
        IoU of each class (or expression) that is true or predicted.
    true, found, dropped
        Names that are true; that were kept to the end; and that are true but were dropped.
    """

    id: str
    score: float
    other: float
    ious: Mapping[str, float]
    true: tuple[str, ...]
    found: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def change(self) -> float:
        """The other run's score less its own."""
        return self.other - self.score


def image_rows(summary: Summary, other: Summary | None = None) -> list[ImageRow]:
    """Return a row for each image that did not fail.

    Parameters
    ----------
    summary, other
        Of the run, and of one to compare it with: RunError if their protocols differ, but for unequal images.
    """
    theirs = {} if other is None else {record["id"]: record["score"] for record in other.records}
    return [_row(summary.manifest["dataset"], record, theirs.get(record["id"])) for record in summary.records]


def chosen_rows(
    rows: Sequence[ImageRow], *, order: str = ORDERS[0], name: str = "", dropped: bool = False
) -> list[ImageRow]:
    """Return the rows that a person asks for, sorted; rows without a value come last.

    Parameters
    ----------
    rows, order
        Of `image_rows`, and one of `ORDERS`.
    name
        Only images in which this class is true or found, sorted by its IoU; "" for all, by score.
    dropped
        Only images in which a true class (that class, if there is a name) was dropped.

    Examples
    --------
    >>> rows = [
    ...     ImageRow("1", 0.6, 0.2, {"cat": 0.6}, ("cat",), ("cat",), ()),
    ...     ImageRow("2", 0.1, 0.4, {"dog": 0.1}, ("dog",), (), ("dog",)),
    ... ]
    >>> [row.id for row in chosen_rows(rows)], [row.id for row in chosen_rows(rows, order="most lost")]
    (['2', '1'], ['1', '2'])
    >>> [row.id for row in chosen_rows(rows, name="dog")], [row.id for row in chosen_rows(rows, dropped=True)]
    (['2'], ['2'])
    """
    shown = [
        row
        for row in rows
        if (not name or name in row.true or name in row.found)
        and (not dropped or (name in row.dropped if name else bool(row.dropped)))
    ]
    if order == "name":
        return sorted(shown, key=lambda row: row.id)
    sign = -1.0 if order in ("highest first", "most gained") else 1.0

    def value(row: ImageRow) -> tuple[bool, float, str]:
        number = row.change if order.startswith("most") else row.ious.get(name, nan) if name else row.score
        return isnan(number), sign * number, row.id

    return sorted(shown, key=value)


def _row(data: Mapping[str, Any], record: Mapping[str, Any], other: float | None) -> ImageRow:
    names = entry_names(data, record)
    ious, true = entry_ious(data, record)
    dropped = {index for index, *_ in record.get("drops", ())}
    last = record["kept"][-1] if record.get("kept") else []
    missed = [
        name
        for index, (name, there) in enumerate(zip(names, true, strict=True))
        if there and index in dropped
    ]
    return ImageRow(
        id=record["id"],
        score=nan if record["score"] is None else record["score"],
        other=nan if other is None else other,
        ious={name: iou for name, iou in zip(names, ious, strict=True) if not isnan(iou)},
        true=tuple(name for name, there in zip(names, true, strict=True) if there),
        found=tuple(names[index] for index in last),
        dropped=tuple(missed),
    )
