"""g, the mask classifier: how well each prompted image shows each active query."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from scipy.special import expit, softmax

from carlab.backbones.base import FrozenVlm, SigmoidVlm
from carlab.errors import SettingError, check_choice
from carlab.files.pictures import resize
from carlab.hooks import as_numpy, probe
from carlab.queries import CLASSIFIER_TEMPLATES, check_template
from carlab.stages.base import SCORE_KINDS, check_finite

FITS = ("squash", "pad", "crop")
ENSEMBLES = ("embeddings", "probabilities")


@dataclass(frozen=True)
class TemplateClassifier:
    """Scores prompted images against queries written in several templates.

    Raises SettingError or QueryError if `ensemble`, `fit` or `score` is unknown, the backbone was not trained
    for the score, or a template has no `{}`.

    Parameters
    ----------
    backbone
        The frozen image-text model.
    templates
        Texts with one `{}` each.
    ensemble
        "embeddings": one text vector per query, the mean over templates, and one softmax (as written).
        "probabilities": as released, a softmax over queries per template, their sum over templates, and a
        softmax of that sum once more (quirk 1).
    fit
        How an image becomes square: "squash" it, "pad" it with its mean colour, or as released "crop" its
        centre, which cuts off the sides of a wide image (quirk 3).
    skip_blocks
        How many last vision blocks are left out; the release leaves out one (quirk 2).
    side
        Input side in pixels; None: the backbone's own.
    score
        "softmax", the paper's: a query's share among the active ones. "sigmoid": an absolute score in [0, 1],
        which does not depend on the other queries; for a backbone that was trained with it, such as SigLIP.
        With "probabilities" it is the mean over templates of sigmoids, without a second softmax.

    Examples
    --------
    >>> classifier = replace(model.classifier, templates=("a photo of a {}.",), fit="pad")
    >>> seen = classifier.preprocess(image)
    >>> embeddings = classifier.encode_images(seen[None])
    >>> texts = classifier.encode_text(["cat", "dog"])
    >>> classifier(np.repeat(embeddings, 2, axis=0), texts, np.array([0, 1])).sum(axis=1).round(3)
    array([1., 1.], dtype=float32)
    """

    backbone: FrozenVlm
    templates: tuple[str, ...] = CLASSIFIER_TEMPLATES
    ensemble: str = "embeddings"
    fit: str = "squash"
    skip_blocks: int = 0
    side: int | None = None
    score: str = "softmax"

    WORDS: ClassVar[tuple[str, ...]] = ("templates", "ensemble", "score")
    """Fields that the embedding of an image does not depend on: classifiers that differ in them share it."""

    def __post_init__(self) -> None:
        check_choice("an ensemble", self.ensemble, ENSEMBLES)
        check_choice("a fit", self.fit, FITS)
        check_choice("a score", self.score, SCORE_KINDS)
        if self.score == "sigmoid" and not isinstance(self.backbone, SigmoidVlm):
            raise SettingError(
                f'expected a model trained with a sigmoid for score="sigmoid", got {self.backbone.name}, '
                'whose logits have no absolute zero; take a SigLIP as classifier, or score="softmax"'
            )
        if not self.templates:
            raise SettingError("expected one or more templates, got none; ('a photo of a {}.',) is one")
        for template in self.templates:
            check_template(template)

    def encode_text(self, queries: Sequence[str]) -> Float32[np.ndarray, "p Q d"]:
        """Embed every query in every template; "embeddings" leaves one row, their mean.

        Raises QueryError if a text has more tokens than the model reads.
        """
        texts = [template.replace("{}", query) for template in self.templates for query in queries]
        embedded = as_numpy(self.backbone.encode_text(texts)).reshape(len(self.templates), len(queries), -1)
        if self.ensemble == "embeddings":
            with np.errstate(invalid="ignore", divide="ignore"):  # of embeddings that are zero
                embedded = mean_direction(embedded)
        check_finite(self, "text embeddings", embedded)
        return np.asarray(probe("classify.texts", embedded.astype(np.float32)))

    def preprocess(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
        """Resize to the input side (bicubic), squashed, padded or cropped as `fit` says."""
        height, width = image.shape[:2]
        side = self.side or self.backbone.input_side
        if self.fit == "squash":
            return resize(image, side, side, "bicubic")
        if self.fit == "pad":
            canvas = np.empty((max(height, width),) * 2 + (3,), dtype=np.uint8)
            canvas[:] = image.mean(axis=(0, 1)).round().astype(np.uint8)
            top, left = (len(canvas) - height) // 2, (len(canvas) - width) // 2
            canvas[top : top + height, left : left + width] = image
            return resize(canvas, side, side, "bicubic")
        short = min(height, width)
        rows, columns = floor(side * height / short), floor(side * width / short)
        top, left = round((rows - side) / 2), round((columns - side) / 2)
        return resize(image, rows, columns, "bicubic")[top : top + side, left : left + side]

    def encode_images(self, images: UInt8[np.ndarray, "m s s 3"]) -> Float32[np.ndarray, "m d"]:
        """Embed images that `preprocess` returned; BackboneError if the model returns NaN or infinity."""
        embeddings = self.backbone.encode_images(images, skip_blocks=self.skip_blocks).float().cpu().numpy()
        check_finite(self, "image embeddings", embeddings)
        return embeddings

    def __call__(
        self,
        embeddings: Float32[np.ndarray, "q d"],
        texts: Float32[np.ndarray, "p Q d"],
        active: Int[np.ndarray, " q"],
    ) -> Float32[np.ndarray, "q q"]:
        """Return P_t, in [0, 1]: row = prompted image, column = active query; by softmax rows sum to 1."""
        place = self.backbone.device
        images, some = (torch.from_numpy(rows).to(place) for rows in (embeddings, texts[:, active]))
        logits = as_numpy(torch.stack([self.backbone.logits(images, rows) for rows in some]))
        logits = probe("classify.logits", logits)
        if self.score == "sigmoid":
            probs = expit(logits).mean(axis=0)
        elif self.ensemble == "embeddings":
            probs = softmax(logits[0], axis=-1)
        else:
            probs = softmax(softmax(logits, axis=-1).sum(axis=0), axis=-1)
        return np.asarray(probe("classify.probs", probs.astype(np.float32)))


def mean_direction(texts: Float[np.ndarray, "p Q d"]) -> Float[np.ndarray, "1 Q d"]:
    """Return the mean over templates, scaled to the mean length of its parts.

    Parameters
    ----------
    texts
        Text embeddings, template by query; none is zero.

    Examples
    --------
    >>> mean_direction(np.array([[[3.0, 0.0]], [[0.0, 1.0]]])).round(2)
    array([[[1.9 , 0.63]]])
    """
    mean = texts.mean(axis=0, keepdims=True)
    lengths = np.linalg.norm(texts, axis=-1).mean(axis=0, keepdims=True)
    return np.asarray(mean * (lengths / np.linalg.norm(mean, axis=-1))[..., None])
