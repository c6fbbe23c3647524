"""Photo: an image, and everything that is computed once for it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from carlab.cache import Cache
from carlab.files.images import load_image
from carlab.files.shapes import Image
from carlab.hooks import Recording, collect, measure, recorded_patterns

if TYPE_CHECKING:
    from carlab.stages.base import MaskClassifier, MaskProposer


class Inputs(NamedTuple):
    """What a run needs that does not depend on the active set."""

    proposals: Any
    """Of the proposer: CAMs and masks of any subset of the queries follow from it."""
    texts: Float32[np.ndarray, "p Q d"]
    """Of the classifier: text embeddings by template and query."""
    probes: dict[str, np.ndarray]
    """Recorded probes that fire once an image."""


@dataclass(eq=False)
class Photo:
    """An image with a cache of what was computed for it: give it to several models or runs to share that.

    It is mutable: the cache is filled by every run.

    Parameters
    ----------
    image
        RGB.
    cache
        Prompted images, embeddings, activation maps, final masks, each under the stage that made it.
    unreported
        Cost of preparations that no trace has reported yet.

    Examples
    --------
    >>> photo = Photo.of(image)
    >>> model(photo, ["cat", "dog"]).passes["trunk"]
    1
    >>> "trunk" in model(photo, ["cat", "red car"]).passes
    False
    """

    image: Image
    cache: Cache = field(default_factory=Cache, repr=False)
    unreported: Recording = field(default_factory=Recording, repr=False)

    @classmethod
    def of(cls, source: Any) -> "Photo":
        """Load an image (see `carlab.files.images.load_image`); a `Photo` is returned as it is.

        Raises ImageError if it cannot be read.
        """
        return source if isinstance(source, Photo) else cls(load_image(source))

    def prepare(
        self,
        proposer: "MaskProposer",
        classifier: "MaskClassifier",
        queries: tuple[str, ...],
        background: tuple[str, ...],
    ) -> Inputs:
        """Return everything that does not depend on the active set, from the cache where it is there.

        Raises QueryError if a text has more tokens than the model reads; BackboneError if the model returns
        NaN or infinity.
        """

        def make() -> Inputs:
            with collect(Recording(patterns)) as recorded:
                proposals = proposer.prepare(self, queries, background)
                texts = classifier.encode_text(queries)
            return Inputs(proposals, texts, recorded.probes)

        # The patterns are part of the key: what was recorded must be what is to be recorded now.
        patterns = recorded_patterns()
        with measure() as cost:
            inputs = self.cache.get(("inputs", proposer, classifier, queries, background, patterns), make)
        self.unreported.add(cost)
        return inputs

    def take_unreported(self) -> Recording:
        """Return the cost of preparations that no trace has reported, and forget it."""
        cost, self.unreported = self.unreported, Recording()
        return cost
