"""Make the cards of images whose traces were kept: image, truth, predictions, and scores by step."""

from collections.abc import Collection, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from markupsafe import Markup

from carlab.datasets.layout import read_index
from carlab.errors import RunError, quoted
from carlab.evaluate.folder import IGNORED
from carlab.evaluate.page.sections import PageRun
from carlab.evaluate.scoring import PassTrace, merged_labels
from carlab.evaluate.summary import entry_ious, entry_names
from carlab.figures.content import as_script, trace_content
from carlab.files.pictures import colour_hex, data_uri, paint, resize, shrink
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import ending

CARD_SIDE = 420
"""Longest side of a picture, in pixels."""
WEBP_QUALITY = 80
"""Of WebP."""
MOST_TRACES = 20
"""Traces shown; a page of so many stays below 5 MB."""
MOST_LISTED = 6
"""Queries of a trace that are shown, beside the true ones."""
WHITE = np.array([255, 255, 255], dtype=np.uint8)

Scored = tuple[PageRun, Mapping[str, Any]]
"""A run, and its record of an image."""


class Recurrence(NamedTuple):
    """A trace as the front end draws it, and how it ended."""

    content: Mapping[str, Any]
    ending: str

    @property
    def data(self) -> Markup:
        """The content as JSON for a script element."""
        return Markup(as_script(self.content))  # noqa: S704 - no "<" is in it


class RunView(NamedTuple):
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
    views: Sequence[RunView]


class Cards(NamedTuple):
    """Cards by image (digest of the data set, id), the worst first; numbers of images kept and scored."""

    shown: Mapping[tuple[str, str], Card]
    kept: int
    scored: int


def make_cards(runs: Sequence[PageRun]) -> Cards:
    """Return the images with the lowest and the highest mean score of those whose traces were kept."""
    images: dict[tuple[str, str], list[Scored]] = {}
    for run in runs:
        for record in run.summary.records:
            kept = record["score"] is not None and run.folder.trace(record["id"]).exists()
            images.setdefault((run.summary.manifest["dataset"]["digest"], record["id"]), []).extend(
                [(run, record)] if kept else []
            )
    scores = {
        key: np.mean([record["score"] for _, record in places]) for key, places in images.items() if places
    }
    ranked = sorted(scores, key=lambda key: scores[key])
    most = max(2, MOST_TRACES // len(runs))
    chosen = ranked if len(ranked) <= most else [*ranked[: (most + 1) // 2], *ranked[-(most // 2) :]]
    return Cards({key: _card(images[key]) for key in chosen}, len(ranked), len(images))


def _card(places: Sequence[Scored]) -> Card:
    passes = [_checked_passes(*place) for place in places]
    if len({parts[0].trace.image.shape for parts in passes}) > 1:
        raise RunError("expected runs over the same images, got different sizes of one; compare other runs")
    first = passes[0][0].trace
    image = shrink(first.image, CARD_SIDE)
    run, record = places[0]
    file = run.folder.truth(record["id"])
    truth = read_index(file, "the true labels of an image") if file.exists() else None
    views = []
    for (run, record), parts in zip(places, passes, strict=True):
        picture = _webp(_painted_labels(image, merged_labels(first.image.shape[:2], parts)))
        recurrences = [_recurrence(part, record.get("true", ())) for part in parts]
        views.append(RunView(run, record["score"], picture, recurrences))
    return Card(
        image=_webp(image),
        truth=None if truth is None else _webp(_painted_labels(image, truth)),
        ignored=truth is not None and bool((truth == IGNORED).any()),
        legend=_legend(places),
        views=views,
    )


def _checked_passes(run: PageRun, record: Mapping[str, Any]) -> list[PassTrace]:
    """Return the traces of an image; RunError if they are not those of its record."""
    try:
        parts = _read_passes(run, record)
    except ValueError:  # a query that the record has not, or more of them
        parts = []
    same = {part.trace.image.shape for part in parts}
    if len(same) != 1 or any(len(part.classes) != len(part.trace.queries) for part in parts):
        raise RunError(
            f"expected the traces of image {quoted(record['id'])} in {quoted(run.folder.path)}, got others; "
            "delete them, or run again into another --out"
        )
    return parts


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


def _painted_labels(image: Image, labels: Int[np.ndarray, "h2 w2"]) -> Image:
    """Paint labels of the full size over a shrunk image; ignored pixels are white."""
    small = resize(labels.astype(np.int32), image.shape[0], image.shape[1], "nearest")
    ignored = small == IGNORED
    return np.where(ignored[..., None], WHITE, paint(image, np.where(ignored, 0, small)))


def _webp(picture: Image) -> str:
    return data_uri(picture, "WEBP", quality=WEBP_QUALITY)


def _legend(places: Sequence[Scored]) -> list[Entry]:
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
    trace = part.trace
    present = [query for query, index in enumerate(part.classes) if index in true]
    content = trace_content(
        trace, slots=part.classes, side=CARD_SIDE, top=MOST_LISTED, true=present, compact=True
    )
    return Recurrence(content, ending(trace))
