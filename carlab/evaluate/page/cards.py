"""Make the cards of images whose traces were kept: image, truth, predictions, and scores by step."""

from collections.abc import Collection, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from carlab.datasets.layout import read_index
from carlab.evaluate.folder import IGNORED
from carlab.evaluate.page.sections import PageRun
from carlab.evaluate.scoring import PassTrace, merged_labels
from carlab.evaluate.summary import entry_ious, entry_names
from carlab.files.pictures import colour_hex, data_uri, paint, resize, shrink
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import ending, most_telling, rest

CARD_SIDE = 420
"""Longest side of a picture, in pixels."""
QUALITY = 80
"""Of WebP."""
MOST_TRACES = 20
"""Traces shown; a page of so many stays below 5 MB."""
MOST_LISTED, MOST_CURVES = 6, 40
"""Queries of a trace in its table, beside the true ones, and in its chart."""
WHITE = np.array([255, 255, 255], dtype=np.uint8)

Place = tuple[PageRun, Mapping[str, Any]]
"""A run, and its record of an image."""


class Curve(NamedTuple):
    """A query of a trace: its scores by step, NaN once dropped, and whether it is true."""

    name: str
    colour: str
    scores: Sequence[float]
    true: bool
    margin: float | None
    """Distance below the threshold when it was dropped, NaN if there is none; None if it was kept."""


class Recurrence(NamedTuple):
    """A trace as a chart of curves, and a table of the most telling ones."""

    curves: Sequence[Curve]
    listed: Sequence[Curve]
    rest: str
    threshold: float
    ending: str


class View(NamedTuple):
    """The result of a run on an image: its score, the painted prediction as a data URI, and its traces."""

    run: PageRun
    score: float
    picture: str
    recurrences: Sequence[Recurrence]


class Entry(NamedTuple):
    """A class or an expression, with its IoU in each view; NaN if neither true nor predicted."""

    name: str
    colour: str
    true: bool
    ious: Sequence[float]


class Card(NamedTuple):
    """An image, and its truth, if kept, as data URIs; `ignored`: whether the truth has unscored pixels."""

    image: str
    truth: str | None
    ignored: bool
    legend: Sequence[Entry]
    views: Sequence[View]


class Cards(NamedTuple):
    """Cards by image (digest of the data set, id), the worst first; numbers of images kept and scored."""

    shown: Mapping[tuple[str, str], Card]
    kept: int
    scored: int


def make_cards(runs: Sequence[PageRun]) -> Cards:
    """Return the images with the lowest and the highest mean score of those whose traces were kept."""
    images: dict[tuple[str, str], list[Place]] = {}
    for run in runs:
        for record in run.summary.records:
            kept = [(run, record)] if run.folder.trace(record["id"]).exists() else []
            images.setdefault((run.summary.manifest["dataset"]["digest"], record["id"]), []).extend(kept)
    scores = {
        key: np.mean([record["score"] for _, record in places]) for key, places in images.items() if places
    }
    ranked = sorted(scores, key=lambda key: scores[key])
    most = max(2, MOST_TRACES // len(runs))
    chosen = ranked if len(ranked) <= most else [*ranked[: (most + 1) // 2], *ranked[-(most // 2) :]]
    return Cards({key: _card(images[key]) for key in chosen}, len(ranked), len(images))


def _card(places: Sequence[Place]) -> Card:
    passes = [_read_passes(*place) for place in places]
    first = passes[0][0].trace
    image = shrink(first.image, CARD_SIDE)
    run, record = places[0]
    file = run.folder.truth(record["id"])
    truth = read_index(file, "the true labels of an image") if file.exists() else None
    views = []
    for (run, record), parts in zip(places, passes, strict=True):
        picture = _webp(_painted(image, merged_labels(first.image.shape[:2], parts)))
        recurrences = [_recurrence(part, record.get("true", ())) for part in parts]
        views.append(View(run, record["score"], picture, recurrences))
    return Card(
        image=_webp(image),
        truth=None if truth is None else _webp(_painted(image, truth)),
        ignored=truth is not None and bool((truth == IGNORED).any()),
        legend=_legend(places),
        views=views,
    )


def _read_passes(run: PageRun, record: Mapping[str, Any]) -> list[PassTrace]:
    """Read the traces of an image in the order of its runs, with the index of each query's class or text."""
    data = run.summary.manifest["dataset"]
    traces = [Trace.load(path) for path in run.folder.kept_traces(record["id"])]
    if data["kind"] != "semantic":
        positions = [[record["texts"].index(query) for query in trace.queries] for trace in traces]
        return [PassTrace(rows, False, trace) for rows, trace in zip(positions, traces, strict=True)]
    shown = [
        ([index for index in part["classes"] if not data["labels_given"] or index in record["true"]], part)
        for part in data["passes"]
    ]
    parts = [(classes, part["background"] is not None) for classes, part in shown if classes]
    return [PassTrace(*part, trace) for part, trace in zip(parts, traces, strict=True)]


def _painted(image: Image, labels: Int[np.ndarray, "h2 w2"]) -> Image:
    """Paint labels of the full size over a shrunk image; ignored pixels are white."""
    small = resize(labels.astype(np.int32), image.shape[0], image.shape[1], "nearest")
    ignored = small == IGNORED
    return np.where(ignored[..., None], WHITE, paint(image, np.where(ignored, 0, small)))


def _webp(picture: Image) -> str:
    return data_uri(picture, "WEBP", quality=QUALITY)


def _legend(places: Sequence[Place]) -> list[Entry]:
    """Return the classes that are true or predicted, or all expressions."""
    data = places[0][0].summary.manifest["dataset"]
    values, true = zip(*(entry_ious(data, record) for _, record in places), strict=True)
    table = zip(entry_names(data, places[0][1]), true[0], zip(*values, strict=True), strict=True)
    return [
        Entry(name, colour_hex(index), present, ious)
        for index, (name, present, ious) in enumerate(table)
        if not all(map(isnan, ious))
    ]


def _recurrence(part: PassTrace, true: Collection[int]) -> Recurrence:
    trace, scores = part.trace, part.trace.scores
    margins = {drop.query: drop.margin for drop in trace.drops}
    curves = [
        Curve(name, colour_hex(index), scores[:, query].tolist(), index in true, margins.get(query))
        for query, (name, index) in enumerate(zip(trace.queries, part.classes, strict=True))
    ]
    present = [query for query, curve in enumerate(curves) if curve.true]
    listed = sorted(  # by the last score: the query kept longest comes first
        {*present, *most_telling(trace, MOST_LISTED)},
        key=lambda query: np.nan_to_num(scores[::-1, query], nan=-1).tolist(),
        reverse=True,
    )
    return Recurrence(
        curves=[curves[query] for query in sorted({*listed, *most_telling(trace, MOST_CURVES)})],
        listed=[curves[query] for query in listed],
        rest=rest(trace, listed) if len(listed) < len(trace.queries) else "",
        threshold=trace.threshold,
        ending=ending(trace),
    )
