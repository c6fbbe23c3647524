"""Pointing: what every word says of each patch, and how a region drawn by hand is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image as Pillow
from PIL import ImageDraw

from carlab.errors import QueryError, SettingError, check_choice
from carlab.files.shapes import Mask

if TYPE_CHECKING:
    from carlab.photo import Photo
    from carlab.recurrence import ClipAsRnn

STROKE = 0.04
"""Width of a stroke, as a share of the image's longer side."""
REGION_KINDS = ("box", "scribble")


@dataclass(frozen=True, eq=False)
class WordMaps:
    """What every word says of each patch, in competition with all others.

    Parameters
    ----------
    queries, background
        The words: rows of `maps` in this order.
    maps
        Activation before min-max, over the highest of all words: comparable between words, in [0, 1].
    """

    queries: tuple[str, ...]
    background: tuple[str, ...]
    maps: Float32[np.ndarray, "w i j"]


def word_maps(
    model: "ClipAsRnn", photo: "Photo", queries: Sequence[str], background: Sequence[str] | None = None
) -> WordMaps:
    """Let every query and every background word compete as a word of its own (docs/method.md, section 2).

    In a run the background is one competitor; here each of its words has a map. It costs a vector-Jacobian
    product for each word that the photo was not yet asked about, and no pass of the trunk.

    Raises QueryError if a word cannot be used.

    Parameters
    ----------
    model, photo, queries
        As in a run.
    background
        By default the model's own.

    Examples
    --------
    >>> said = word_maps(model, Photo.of(image), ["cat", "dog"], ["sky"])
    >>> said.maps.shape[0], float(said.maps.max())
    (3, 1.0)
    """
    words = tuple(model.background if background is None else background)
    extra = tuple(word for word in words if word not in queries)
    names = (*queries, *extra)
    inputs = photo.prepare(model.proposer, model.classifier, names, ())
    everything = np.arange(len(names))
    closed_form, proposals = getattr(model.proposer, "closed_form", None), inputs.proposals
    if closed_form is None:  # a proposer of one's own: each map is scaled by itself
        maps = model.proposer(proposals, everything, 0).cams
    else:
        own = [proposals.evidence[text] for text in proposals.texts[0]]
        maps = closed_form(own, None).reshape(len(names), *proposals.trunk.grid)
    return WordMaps(tuple(queries), extra, (maps / max(float(maps.max()), 1e-12)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class RegionScores:
    """How the classifier scores a region.

    Parameters
    ----------
    queries, scores
        A score in [0, 1] for each query.
    prompted
        The prompted image as the classifier sees it.
    """

    queries: tuple[str, ...]
    scores: Float32[np.ndarray, " q"]
    prompted: UInt8[np.ndarray, "s1 s2 3"]


def region_scores(model: "ClipAsRnn", photo: "Photo", queries: Sequence[str], region: Mask) -> RegionScores:
    """Draw any region onto the image as a run draws a mask, and score it against the queries: one encode.

    Raises SettingError if the region has another size than the image or no pixel; QueryError if there is no
    query.

    Parameters
    ----------
    model, photo, queries
        As in a run.
    region
        True inside.

    Examples
    --------
    >>> region = np.zeros(image.shape[:2], dtype=bool)
    >>> region[10:30, 20:50] = True
    >>> region_scores(model, Photo.of(image), ["cat", "dog"], region).scores.shape
    (2,)
    """
    if not queries:
        raise QueryError("expected one or more queries, got none; name what to look for")
    if region.shape != photo.image.shape[:2] or not region.any():
        raise SettingError(
            f"expected a region of {photo.image.shape[:2]} pixels that is not empty, got {region.shape} with "
            f"{int(region.sum())}; draw it on the image"
        )
    classifier = model.classifier
    prompted = classifier.preprocess(model.prompter(photo.image, region))
    embedding = classifier.encode_images(prompted[None])
    texts, active = classifier.encode_text(tuple(queries)), np.arange(len(queries))
    probs = classifier(np.repeat(embedding, len(queries), axis=0), texts, active)
    return RegionScores(tuple(queries), probs[0], prompted)


def drawn_region(kind: str, points: Sequence[Sequence[float | int]], height: int, width: int) -> Mask:
    """Return what was drawn on an image as a mask.

    Raises SettingError if it is no box or scribble of two or more points.

    Parameters
    ----------
    kind, points
        "box": two opposite corners; "scribble": a stroke, as wide as 4 % of the longer side. Points are
        (x, y) as shares of width and height.
    height, width
        Of the image, in pixels.

    Examples
    --------
    >>> drawn_region("box", [(0.5, 0.0), (1.0, 0.5)], 2, 4).astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 0, 0]])
    """
    check_choice("a region", kind, REGION_KINDS)
    if len(points) < 2:
        raise SettingError(f"expected two or more points, got {len(points)}; draw a line or a box")
    spots = np.clip(np.array([[float(x), float(y)] for x, y in points]), 0, 1) * (width, height)
    if kind == "box":
        (left, top), (right, bottom) = spots.min(0), spots.max(0)
        y, x = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
        return np.asarray((x > left) & (x < right) & (y > top) & (y < bottom))
    canvas = Pillow.new("1", (width, height))
    drawing, stroke = ImageDraw.Draw(canvas), max(1, round(STROKE * max(height, width)))
    flat: list[Any] = [tuple(spot) for spot in (spots - 0.5).tolist()]  # of Pillow's pixels, whole numbers
    drawing.line(flat, fill=1, width=stroke, joint="curve")
    for x, y in flat:
        drawing.circle((x, y), stroke / 2, fill=1)
    return np.asarray(canvas)
