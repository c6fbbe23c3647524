"""Images of which traces were kept: photo, truth, predictions, and who fell when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from carlab.datasets.layout import read_index
from carlab.evaluate.page.sections import Line, Run
from carlab.evaluate.scoring import Asked, painted
from carlab.files.pictures import colour_hex, data_uri, paint, resize, shrink
from carlab.files.shapes import Image, LabelMap
from carlab.metrics import referring, semantic
from carlab.trace import Trace
from carlab.trace.show import ending, most_telling, rest

CARD_SIDE = 420
"""Longest side of a picture, in pixels."""
QUALITY = 80
"""Of WebP."""
MOST_TRACES = 20
"""Traces shown; a page of so many stays below 5 MB."""
MOST_WORDS, MOST_LINES = 6, 40
"""Words listed of a trace, beside those that are there, and words drawn as curves."""
IGNORED = 65535
"""In a kept truth: a pixel that counts neither for nor against."""
WHITE = np.array([255, 255, 255], dtype=np.uint8)

Key = tuple[str, str]
"""An image: digest of the data, and its id."""
Place = tuple[Run, int]
"""A run, and the row of an image in its summary."""


class Word(NamedTuple):
    """A query of a trace: its curve, whether it is there, and how far below the threshold it fell."""

    line: Line
    true: bool
    margin: float
    """NaN if it was kept, or if there is no threshold."""


@dataclass(frozen=True)
class Recurrence:
    """A trace as a curve for each word, and a table of the most telling ones."""

    lines: Sequence[Line]
    words: Sequence[Word]
    rest: str
    threshold: float
    ending: str
    steps: int


@dataclass(frozen=True)
class View:
    """What a run made of an image."""

    run: Run
    score: float
    picture: str
    """The photo with the prediction painted, as a data URI."""
    recurrences: Sequence[Recurrence]


class Entry(NamedTuple):
    """A class or an expression of the legend, with its IoU in each view; NaN where not met."""

    name: str
    colour: str
    true: bool
    ious: Sequence[float]


@dataclass(frozen=True)
class Card:
    """An image."""

    key: Key
    photo: str
    truth: str | None
    ignored: bool
    """Whether the truth leaves pixels uncounted: they are white."""
    legend: Sequence[Entry]
    views: Sequence[View]


class Cards(NamedTuple):
    """Images shown, the worst first, out of how many with a kept trace, and of how many scored."""

    shown: Sequence[Card]
    kept: int
    scored: int

    @property
    def places(self) -> Mapping[Key, int]:
        """Where the card of an image stands, from 1."""
        return {card.key: place for place, card in enumerate(self.shown, 1)}


@dataclass(frozen=True)
class Seen:
    """An image in a run that kept its trace."""

    run: Run
    row: int
    """Of the image in the run's summary."""

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """What the image gave."""
        return self.run.summary.records[self.row]

    @cached_property
    def asked(self) -> list[Asked]:
        """Its traces, with the classes that each was asked for."""
        data = self.run.summary.manifest["dataset"]
        parts = [(self._classes(part["classes"]), part["background"] is not None) for part in data["passes"]]
        if data["kind"] == "semantic":  # a pass that asked nothing left no trace
            parts = [part for part in parts if part[0]]
        files = [self.run.folder.trace(self.record["id"], number) for number in range(len(parts))]
        return [Asked(*part, Trace.load(file)) for part, file in zip(parts, files, strict=True)]

    def _classes(self, classes: Sequence[int]) -> tuple[int, ...]:
        given = self.run.summary.protocol.labels_given
        return tuple(index for index in classes if not given or index in self.record["true"])

    @property
    def semantic(self) -> bool:
        """Whether classes were asked for, and not expressions."""
        return self.run.summary.protocol.kind == "semantic"

    @cached_property
    def ious(self) -> tuple[Sequence[float], Sequence[bool]]:
        """IoU, and whether it is there, of each class but the background, or of each expression."""
        if self.semantic:
            counts = semantic.Tally(*self.run.summary.rows[self.row].reshape(4, -1))
            return semantic.iou(counts)[1:].tolist(), (counts.true[1:] > 0).tolist()
        if "j" in self.record:  # a video
            return self.record["j"], [True] * len(self.record["j"])
        intersections, unions = np.array(self.record["expressions"]).T
        return referring.iou(intersections, unions).tolist(), [not none for none, _ in self.record["empty"]]


def cards(runs: Sequence[Run]) -> Cards:
    """The images with the lowest and the highest score out of those whose traces were kept."""
    places: dict[Key, list[Place]] = {}
    for run in runs:
        for row, record in enumerate(run.summary.records):
            places.setdefault((run.digest, record["id"]), []).append((run, row))
    kept = [[place for place in image if _has_trace(place)] for image in places.values()]
    ranked = sorted((image for image in kept if image), key=_score)
    most = max(2, MOST_TRACES // len(runs))
    chosen = ranked if len(ranked) <= most else [*ranked[: (most + 1) // 2], *ranked[-(most // 2) :]]
    return Cards([_card([Seen(*place) for place in image]) for image in chosen], len(ranked), len(places))


def _has_trace(place: Place) -> bool:
    run, row = place
    return run.folder.trace(run.summary.records[row]["id"]).exists()


def _score(image: Sequence[Place]) -> float:
    """Mean over the runs."""
    return float(np.mean([run.summary.records[row]["score"] for run, row in image]))


def _card(seen: Sequence[Seen]) -> Card:
    first = seen[0]
    photo = shrink(first.asked[0].trace.image, CARD_SIDE)
    truth = _truth(first)
    return Card(
        key=(first.run.digest, first.record["id"]),
        photo=_webp(photo),
        truth=None if truth is None else _webp(_painted(photo, truth)),
        ignored=truth is not None and bool((truth == IGNORED).any()),
        legend=_legend(seen),
        views=[_view(view, photo) for view in seen],
    )


def _truth(seen: Seen) -> LabelMap | None:
    file = seen.run.folder.truth(seen.record["id"])
    return read_index(file, "the true labels of an image") if file.exists() else None


def _view(seen: Seen, photo: Image) -> View:
    labels = (
        painted(seen.asked[0].trace.image.shape[:2], seen.asked)
        if seen.semantic
        else seen.asked[0].trace.labels
    )
    return View(
        seen.run,
        seen.record["score"],
        _webp(_painted(photo, labels)),
        [_recurrence(part, seen) for part in seen.asked],
    )


def _painted(image: Image, labels: Int[np.ndarray, "h2 w2"]) -> Image:
    """Paint labels of the full size over a shrunk image; ignored pixels are white."""
    height, width = image.shape[:2]
    small = resize(labels.astype(np.int32), height, width, "nearest")
    ignored = small == IGNORED
    return np.where(ignored[..., None], WHITE, paint(image, np.where(ignored, 0, small)))


def _webp(picture: Image) -> str:
    return data_uri(picture, "WEBP", quality=QUALITY)


def _legend(seen: Sequence[Seen]) -> list[Entry]:
    """Classes that are there or were found, or all expressions."""
    first = seen[0]
    names = first.run.summary.manifest["dataset"]["classes"] if first.semantic else _expressions(first)
    values, true = zip(*(view.ious for view in seen), strict=True)
    table = zip(names, true[0], zip(*values, strict=True), strict=True)
    return [
        Entry(name, colour_hex(index), there, ious)
        for index, (name, there, ious) in enumerate(table)
        if not all(map(isnan, ious))
    ]


def _expressions(seen: Seen) -> Sequence[str]:
    """The queries; a number instead where one was asked for several times, and so stands there once."""
    queries, values = seen.asked[0].trace.queries, seen.ious[0]
    return queries if len(queries) == len(values) else [f"expression {k + 1}" for k in range(len(values))]


def _recurrence(part: Asked, seen: Seen) -> Recurrence:
    trace, true = part.trace, set(seen.record.get("true", ()))
    classes = part.classes if seen.semantic else range(len(trace.queries))
    there = [query for query, index in enumerate(classes) if index in true]
    scores, margins = trace.scores.T, {drop.query: drop.margin for drop in trace.drops}

    def line(query: int) -> Line:
        fell = query not in trace.survivors
        return Line(trace.queries[query], colour_hex(classes[query]), scores[query].tolist(), ends=fell)

    # By the last score, so that who lasted longest comes first.
    shown = sorted(
        {*there, *most_telling(trace, MOST_WORDS)},
        key=lambda query: np.nan_to_num(scores[query, ::-1], nan=-1).tolist(),
        reverse=True,
    )
    return Recurrence(
        lines=[line(query) for query in sorted({*shown, *most_telling(trace, MOST_LINES)})],
        words=[Word(line(query), query in there, margins.get(query, float("nan"))) for query in shown],
        rest=rest(trace, shown) if len(shown) < len(trace.queries) else "",
        threshold=trace.threshold,
        ending=ending(trace),
        steps=len(trace.steps),
    )
