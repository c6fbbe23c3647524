"""Measures of a backbone, of whatever family: numbers, and no verdict.

Axis letters: m images, q texts, d embedding width, s input side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float, UInt8

from carlab.backbones.base import FrozenVlm
from carlab.errors import BackboneError
from carlab.evaluate.check.subjects import DISTRACTORS, SUBJECTS, Subject
from carlab.files.pictures import resize, resize_maps, shrink
from carlab.hooks import as_numpy
from carlab.photo import Photo
from carlab.stages.proposer import GradCam

MASK_SIDE = 288
"""Longest side of an image whose masks are proposed: its trunk costs little more than an embedding."""
COLOURED = 5
"""Images in colour, the first ones: what normalisations are compared on."""


@dataclass(frozen=True)
class Seen:
    """Images and captions with what a backbone returns for them.

    Parameters
    ----------
    squares
        Every image at the backbone's input side.
    captions
        Those of the images, then those of none.
    images, texts
        Their embeddings.
    logits
        Of every pair; the diagonal is true.
    """

    backbone: FrozenVlm
    squares: UInt8[np.ndarray, "m s s 3"]
    captions: tuple[str, ...]
    images: Float[np.ndarray, "m d"]
    texts: Float[np.ndarray, "q d"]
    logits: Float[np.ndarray, "m q"]


def see(backbone: FrozenVlm) -> Seen:
    """Encode every image and caption once."""
    side = backbone.input_side
    squares = np.stack([resize(subject.image(), side, side, "bicubic") for subject in SUBJECTS])
    captions = (*(subject.caption for subject in SUBJECTS), *DISTRACTORS)
    images, texts = backbone.encode_images(squares), backbone.encode_text(captions)
    logits = backbone.logits(images, texts)
    return Seen(backbone, squares, captions, as_numpy(images), as_numpy(texts), as_numpy(logits))


def ranked_first(scores: Float[np.ndarray, "m q"]) -> int:
    """Return how many rows have their highest score on the diagonal; equal scores and NaN do not count.

    >>> ranked_first(np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0]]))
    1
    """
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    return int((np.diagonal(scores) > others.max(axis=1)).sum())


def permuted_gap(logits: Float[np.ndarray, "m m"]) -> float:
    """Return how far the true pairs lie above the others, in standard deviations of the others.

    The mean of the others is that of the true captions over all cyclic permutations of them.

    >>> permuted_gap(np.array([[9.0, 1.0], [3.0, 9.0]]))
    7.0
    """
    others = logits[~np.eye(len(logits), dtype=bool)]
    spread = float(others.std())
    return float(np.diagonal(logits).mean() - others.mean()) / spread if spread else 0.0


def cosines(a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "m q"]:
    """Return the cosine of every pair, in double precision."""
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a.astype(float), b))
    return np.asarray(one @ other.T)


def mean_cosine(rows: Float[np.ndarray, "m d"]) -> float:
    """Return the mean cosine of two different rows."""
    return float(cosines(rows, rows)[~np.eye(len(rows), dtype=bool)].mean())


class Located(NamedTuple):
    """How masks of known objects lie to their regions."""

    maxima: int
    """Masks whose maximum lies in its region."""
    inside: float
    """Share of a mask in its region, above that of the other queries' masks: the mean over the images."""
    of: int
    """Images."""


def located(backbone: FrozenVlm) -> Located:
    """Propose masks of all queries on every image with a region, and compare the right one with the region.

    There is no background: a query competes with the other ones alone. What a model highlights whatever the
    text, such as the centre, it highlights for every query: its `inside` is near 0. Where it returns NaN,
    `inside` is NaN.
    """
    subjects = [subject for subject in SUBJECTS if subject.query]
    proposer = GradCam(backbone)
    try:
        pairs = [_in_region(proposer, subjects, index) for index in range(len(subjects))]
    except BackboneError:  # NaN or infinity
        return Located(0, float("nan"), len(subjects))
    hits, shares = zip(*pairs, strict=True)
    return Located(sum(hits), float(np.mean(shares)), len(subjects))


def _in_region(proposer: GradCam, subjects: Sequence[Subject], index: int) -> tuple[bool, float]:
    image = shrink(subjects[index].image(), MASK_SIDE)
    proposals = proposer.prepare(Photo.of(image), [subject.query for subject in subjects], ())
    masks = resize_maps(proposer(proposals, np.arange(len(subjects)), 0).masks, *image.shape[:2])
    region = subjects[index].region(*image.shape[:2])
    shares = masks[:, region].sum(axis=1) / np.maximum(masks.sum(axis=(1, 2)), 1e-9)
    hit = region[np.unravel_index(masks[index].argmax(), region.shape)]
    return bool(hit), float(shares[index] - np.delete(shares, index).mean())


def repeated(seen: Seen) -> float:
    """Return the largest cosine distance of an image encoded alone to itself in the batch of all."""
    some = [0, len(seen.squares) - 1]
    alone = [as_numpy(seen.backbone.encode_images(seen.squares[i : i + 1])) for i in some]
    return float(np.abs(1 - np.diagonal(cosines(np.concatenate(alone), seen.images[some]))).max())


def gap_with(seen: Seen, *normalisation: tuple[float, float, float]) -> float:
    """Return the gap of the images in colour with another mean and deviation of the pixels, or its own."""
    logits = seen.logits[:COLOURED, :COLOURED]
    if normalisation:
        mean, std = normalisation
        backbone = replace(cast(Any, seen.backbone), mean=mean, std=std)
        images = backbone.encode_images(seen.squares[:COLOURED])
        logits = as_numpy(backbone.logits(images, backbone.encode_text(seen.captions[:COLOURED])))
    return permuted_gap(logits)


def logit_scale(seen: Seen) -> float | None:
    """Return the factor from cosine to logit, as the backbone applies it; None if it has no such weight."""
    if lookup(seen.backbone, "model.logit_scale") is None:
        return None
    text = seen.backbone.encode_text(seen.captions[:1])
    difference = seen.backbone.logits(text, text) - seen.backbone.logits(-text, text)  # a bias cancels
    return float(difference) / 2


def lookup(backbone: FrozenVlm, path: str) -> Any:
    """Return an attribute that only some families have, or None."""
    try:
        return attrgetter(path)(backbone)
    except AttributeError:
        return None
