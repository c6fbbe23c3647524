"""Prompted pictures of one photo, each drawn and encoded once, however often it is asked for."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from carlab.ledger import timed
from carlab.memory import digest, remember
from carlab.overlay import resize_maps
from carlab.probes import editing, probe, watched
from carlab.stages.protocols import MaskClassifier, Refiner, VisualPrompter
from carlab.turns import Encode, Refine

LIMIT = 1024
"""How many pictures and embeddings are kept; the oldest go first."""
MOST_REFINED, MOST_BYTES = 4, 2**26
"""How many sets of final masks are kept, and how large one may be: at 12 megapixels, a gigabyte."""


@dataclass
class Gallery:
    """What a classifier has seen of one photo, and how its masks were refined.

    A picture is known by its prompter and its region, so a mask that did not
    change between two steps, or between two runs, needs no new encoding; and
    a soft mask by its values, so that it need not even be resized again.
    """

    image: UInt8[np.ndarray, "h w 3"]
    classifier: MaskClassifier
    regions: dict[Any, bytes] = field(default_factory=dict)
    pictures: dict[Any, UInt8[np.ndarray, "s1 s2 3"]] = field(default_factory=dict)
    embeddings: dict[Any, Float32[np.ndarray, " d"]] = field(default_factory=dict)
    refined: dict[Any, Bool[np.ndarray, "k h w"]] = field(default_factory=dict)

    def show(
        self, masks: Float32[np.ndarray, "q i j"], threshold: float, prompter: VisualPrompter
    ) -> Generator[Encode, Any, tuple[UInt8[np.ndarray, "q s1 s2 3"], Float32[np.ndarray, "q d"]]]:
        """Draw each mask above `threshold`, ask for what must be encoded, and give all embeddings."""
        with timed("prompt"):
            drawn = [self._draw(mask, threshold, prompter) for mask in masks]
        pictures = probe("classify.pictures", np.stack([picture for _, picture in drawn]))
        if editing("classify.pictures"):  # the pictures are not those that the keys stand for
            embeddings = yield Encode(self.classifier, tuple(pictures))
        else:
            new = {key: picture for key, picture in drawn if key not in self.embeddings}
            encoded = (yield Encode(self.classifier, tuple(new.values()))) if new else []
            known = {**self.embeddings, **dict(zip(new, encoded, strict=True))}
            embeddings = [known[key] for key, _ in drawn]
            remember(self.embeddings, known, LIMIT)
        return pictures, probe("classify.embeddings", np.stack(embeddings))

    def refine(
        self, refiner: Refiner, masks: Float32[np.ndarray, "k i j"]
    ) -> Generator[Refine, Any, Bool[np.ndarray, "k h w"]]:
        """Ask for the final masks, unless the same soft masks were refined so before."""
        if any(watched(name) for name in getattr(refiner, "probes", ())):
            return (yield Refine(refiner, self.image, masks))
        key = refiner, masks.shape, digest(masks)
        if key in self.refined:
            return self.refined[key]
        final = yield Refine(refiner, self.image, masks)
        if final.nbytes <= MOST_BYTES:
            remember(self.refined, {key: final}, MOST_REFINED)
        return final

    def _draw(
        self, mask: Float32[np.ndarray, "i j"], threshold: float, prompter: VisualPrompter
    ) -> tuple[Any, UInt8[np.ndarray, "s1 s2 3"]]:
        soft = threshold, mask.shape, digest(mask)
        key = prompter, self.regions.get(soft)
        picture = self.pictures.get(key)
        if picture is None:
            # One full-size mask at a time: at 12 megapixels a hundred would not fit.
            region = resize_maps(mask[None], *self.image.shape[:2])[0] > threshold
            key = prompter, digest(np.packbits(region))
            remember(self.regions, {soft: key[1]}, LIMIT)
            picture = self.pictures.get(key)
        if picture is None:
            picture = self.classifier.look(prompter(self.image, region))
            remember(self.pictures, {key: picture}, LIMIT)
        return key, picture
