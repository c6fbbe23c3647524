"""g, the mask classifier: how well each prompted picture shows each active query."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from PIL import Image
from scipy.special import softmax

from carlab.backbones.protocol import FrozenVlm
from carlab.errors import BackboneError, SettingError
from carlab.probes import as_numpy, probe
from carlab.queries import CLASSIFIER_TEMPLATES, check_template, fill_all

FITS = ("squash", "pad", "crop")
ENSEMBLES = ("embeddings", "probabilities")


@dataclass(frozen=True)
class TemplateClassifier:
    """Scores prompted pictures against queries written in several templates.

    Attributes
    ----------
    ensemble
        "embeddings": one text vector per query, the mean over templates, and
        one softmax (as written). "probabilities": as released, a softmax over
        queries per template, their sum over templates, and a softmax of that
        sum once more (quirk 1).
    fit
        How a picture becomes square: "squash" it, "pad" it with its mean
        colour, or as released "crop" its centre, which never sees the sides of
        a wide photo (quirk 3).
    skip_blocks
        How many last vision blocks are left out; the release leaves out one (quirk 2).
    side
        Input side in pixels; None takes the backbone's own.
    """

    backbone: FrozenVlm
    templates: tuple[str, ...] = CLASSIFIER_TEMPLATES
    ensemble: str = "embeddings"
    fit: str = "squash"
    skip_blocks: int = 0
    side: int | None = None

    def __post_init__(self) -> None:
        for value, allowed in ((self.ensemble, ENSEMBLES), (self.fit, FITS)):
            if value not in allowed:
                raise SettingError(f"expected one of {', '.join(allowed)}, got {value!r}; choose one of them")
        if not self.templates:
            raise SettingError("expected one or more templates, got none; ('a photo of a {}.',) is one")
        for template in self.templates:
            check_template(template)

    def encode_text(self, queries: Sequence[str]) -> Float32[np.ndarray, "p Q d"]:
        """Embedding of every query in every template; "embeddings" leaves one row, their mean.

        Raises
        ------
        QueryError
            If a text has more tokens than the model reads.
        """
        texts = [text for template in self.templates for text in fill_all(template, queries)]
        embedded = as_numpy(self.backbone.encode_text(texts)).reshape(len(self.templates), len(queries), -1)
        if self.ensemble == "embeddings":
            embedded = mean_direction(embedded)
        return np.asarray(probe("classify.texts", embedded.astype(np.float32)))

    def look(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
        """The picture as the backbone will see it."""
        return fit_square(picture, self.side or self.backbone.input_side, self.fit)

    def encode_pictures(self, pictures: UInt8[np.ndarray, "m s s 3"]) -> Float32[np.ndarray, "m d"]:
        """Embedding of each picture.

        Raises
        ------
        BackboneError
            If the model answers with NaN or infinity.
        """
        embeddings = as_numpy(self.backbone.encode_images(pictures, skip_blocks=self.skip_blocks))
        if not np.isfinite(embeddings).all():
            raise BackboneError(
                f"expected finite image embeddings, got NaN or infinity from {self.backbone.name}; "
                "use float32, or load the weights again"
            )
        return embeddings.astype(np.float32)

    def __call__(
        self,
        embeddings: Float32[np.ndarray, "q d"],
        texts: Float32[np.ndarray, "p Q d"],
        active: Int[np.ndarray, " q"],
    ) -> Float32[np.ndarray, "q q"]:
        """P_t: row = prompted picture, column = active query; rows sum to 1."""
        logits = np.stack([self._logits(embeddings, rows[active]) for rows in texts])
        probs = softmax(probe("classify.logits", logits), axis=-1)
        probs = probs[0] if self.ensemble == "embeddings" else softmax(probs.sum(axis=0), axis=-1)
        return np.asarray(probe("classify.probs", probs.astype(np.float32)))

    def _logits(
        self, embeddings: Float32[np.ndarray, "q d"], texts: Float32[np.ndarray, "k d"]
    ) -> Float32[np.ndarray, "q k"]:
        scores = self.backbone.logits(torch.from_numpy(embeddings), torch.from_numpy(texts))
        return as_numpy(scores)


def mean_direction(texts: Float[np.ndarray, "p Q d"]) -> Float[np.ndarray, "1 Q d"]:
    """Mean over templates, brought to the mean length of its parts."""
    mean = texts.mean(axis=0, keepdims=True)
    lengths = np.linalg.norm(texts, axis=-1).mean(axis=0, keepdims=True)
    return np.asarray(mean * (lengths / np.linalg.norm(mean, axis=-1))[..., None])


def fit_square(picture: UInt8[np.ndarray, "h w 3"], side: int, fit: str) -> UInt8[np.ndarray, "s s 3"]:
    """Resize to `side` x `side` (bicubic): squashed, padded with the mean colour, or its centre cut out."""
    height, width = picture.shape[:2]
    if fit == "squash":
        return _resize(picture, side, side)
    if fit == "pad":
        canvas = np.empty((max(height, width),) * 2 + (3,), dtype=np.uint8)
        canvas[:] = picture.mean(axis=(0, 1)).round().astype(np.uint8)
        top, left = (len(canvas) - height) // 2, (len(canvas) - width) // 2
        canvas[top : top + height, left : left + width] = picture
        return _resize(canvas, side, side)
    short = min(height, width)
    rows, columns = floor(side * height / short), floor(side * width / short)
    top, left = round((rows - side) / 2), round((columns - side) / 2)
    return _resize(picture, rows, columns)[top : top + side, left : left + side]


def _resize(picture: UInt8[np.ndarray, "h w 3"], rows: int, columns: int) -> UInt8[np.ndarray, "r c 3"]:
    return np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BICUBIC))
