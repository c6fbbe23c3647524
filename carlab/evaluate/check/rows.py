"""What a trained image-text model must give: a row for each check, expected against found."""

from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from carlab.backbones.base import FrozenVlm
from carlab.evaluate.check.measures import (
    Seen,
    cosines,
    gap_with,
    located,
    logit_scale,
    lookup,
    mean_cosine,
    permuted_gap,
    ranked_first,
    repeated,
    see,
)
from carlab.evaluate.check.subjects import SYNONYMS
from carlab.hooks import as_numpy


class Expected(NamedTuple):
    """The least that a family must reach; the reasons and what was found are in docs/checkpoints.md."""

    family: str
    captions: float
    """Share of the images whose own caption is ranked first; by chance 1 / 18."""
    gap: float
    """Of true captions above permuted ones, in standard deviations; by chance 0 +- 0.3."""
    maxima: float
    """Share of the masks whose maximum lies in its region."""
    inside: float
    """Share of a mask in its region, above the other queries' masks; by chance 0 +- 0.05."""
    synonyms: float
    """Share of the names whose synonym is the nearest of all; by chance 1 / 12."""


CAPTIONED = Expected("a model trained on captions", 0.8, 1.5, 0.7, 0.15, 0.75)
EMBEDDED = Expected("the offline backbone", 0.3, 1.0, 0.7, 0.15, 0.75)

NORMALISATIONS = {
    "CLIP's": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "one half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of OpenAI's CLIP (its clip/clip.py), and of SigLIP and some of LAION's."""
NEAR = 0.05
"""Closer than this two normalisations are taken for one; ImageNet's is that close to CLIP's."""
MEAN, DEVIATION = (0.2, 0.8), (0.1, 0.6)
"""Range of both, for pixels in [0, 1]."""
GAIN = 1.5
"""Another normalisation may give a gap so many times as wide, and one of 0.5 in any case."""

CLIP_VOCABULARY = 49408
CLIP_TOKENS = {
    "a photo of a cat.": [49406, 320, 1125, 539, 320, 2368, 269, 49407],
    "Hello, World! ": [49406, 3306, 267, 1002, 256, 49407],
}
"""By CLIP's byte-pair encoding, which all of its checkpoints share, LAION's and MetaCLIP's included."""
DECODED = "two red motorcycles beside an old house"

CAPITALS = 0.9
"""Share of the captions that must be nearest to themselves in capitals: the tokenizers read lower case."""
COLLAPSED = 0.95
"""Mean cosine of different images, or texts, above which they are all but one point."""
SCALES = (20.0, 200.0)
"""Of a trained logit scale: CLIP's ends at 100, SigLIP's near 117; both start below 15."""
UNIT = (0.98, 1.02)
"""Of the length of an embedding that is compared by its cosine, bfloat16 included."""
NOISE = 1e-3
"""Cosine distance between encodes of one image; bfloat16 stays below."""


class Row(NamedTuple):
    """One check; `passed` is None where the backbone does not have what is checked."""

    check: str
    expected: str = ""
    found: str = "not known to this backbone"
    passed: bool | None = None

    @classmethod
    def least(cls, check: str, bound: float, found: float, unit: str = "") -> "Row":
        """Return the row of a number that must reach a bound."""
        return cls(check, f"at least {bound:g}{unit}", f"{found:.2f}{unit}", found >= bound)

    @classmethod
    def most(cls, check: str, bound: float, *found: float) -> "Row":
        """Return the row of numbers that must not exceed a bound."""
        shown = ", ".join(f"{value:.2g}" for value in found)
        return cls(check, f"at most {bound:g}", shown, all(value <= bound for value in found))

    @classmethod
    def within(cls, check: str, bounds: tuple[float, float], *found: float) -> "Row":
        """Return the row of numbers that must lie in a range."""
        low, high = bounds
        shown = ", ".join(f"{value:.3g}" for value in found)
        return cls(check, f"{low:g} to {high:g}", shown, all(low <= value <= high for value in found))

    @classmethod
    def counted(cls, check: str, share: float, found: int, of: int) -> "Row":
        """Return the row of a count that must reach a share."""
        least = ceil(share * of)
        return cls(check, f"at least {least} of {of}", f"{found} of {of}", found >= least)


class Report(NamedTuple):
    """Every check of one backbone."""

    backbone: str
    sha256: str
    family: str
    """What it was judged as."""
    rows: list[Row]

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [row.check for row in self.rows if row.passed is False]


def check_backbone(backbone: FrozenVlm, *, masks: bool = True) -> Report:
    """Check that a backbone behaves as a trained image-text model, and that it was loaded right.

    What only some families have (tokenizer, normalisation, logit scale) is checked where it is.

    Raises ImageError if the installed scikit-image lacks its images.

    Parameters
    ----------
    backbone
        Of any family.
    masks
        Whether to propose masks too; a classifier never does.
    """
    expected = EMBEDDED if backbone.name.startswith("offline") else CAPTIONED
    with np.errstate(all="ignore"):  # NaN fails the rows that measure it
        seen = see(backbone)
        rows = [
            *_captions(seen, expected),
            *(_masks(backbone, expected) if masks else ()),
            *_normalisation(seen),
            *_tokens(backbone),
            *_texts(seen, expected),
            *_numbers(seen),
        ]
    return Report(backbone.name, backbone.sha256, expected.family, rows)


def _captions(seen: Seen, expected: Expected) -> Iterator[Row]:
    m = len(seen.squares)
    yield Row.counted("own caption ranked first", expected.captions, ranked_first(seen.logits), m)
    gap = permuted_gap(seen.logits[:, :m])
    yield Row.least("own captions above permuted ones", expected.gap, gap, " sd")


def _masks(backbone: FrozenVlm, expected: Expected) -> Iterator[Row]:
    masks = located(backbone)
    yield Row.counted("maximum of the mask in its region", expected.maxima, masks.maxima, masks.of)
    yield Row.least("mask in its region, above other queries'", expected.inside, masks.inside)


def _normalisation(seen: Seen) -> Iterator[Row]:
    plausible, best = "mean and deviation of the pixels", "gap in another normalisation"
    own = mean, deviation = lookup(seen.backbone, "mean"), lookup(seen.backbone, "std")
    if mean is None or deviation is None or not is_dataclass(seen.backbone):
        yield from (Row(plausible), Row(best))
        return
    near = [name for name, other in NORMALISATIONS.items() if np.abs(np.subtract(own, other)).max() < NEAR]
    ranges = zip(own, (MEAN, DEVIATION), strict=True)
    inside = all(low <= value <= high for values, (low, high) in ranges for value in values)
    found = f"about {near[0]}" if near else str(own)
    yield Row(plausible, "{} to {}, {} to {}".format(*MEAN, *DEVIATION), found, inside)
    other = next(name for name in NORMALISATIONS if name not in near)
    gap, most = gap_with(seen, *NORMALISATIONS[other]), max(GAIN * gap_with(seen), 0.5)
    yield Row(best, f"at most {most:.2f} sd", f"{gap:.2f} sd with {other}", gap <= most)


def _tokens(backbone: FrozenVlm) -> Iterator[Row]:
    known, back = "tokens of known texts", "tokens back to the text"
    tokenizer: Any = lookup(backbone, "tokenizer")
    size = lookup(backbone, "model.config.text_config.vocab_size")
    if callable(tokenizer) and size == CLIP_VOCABULARY:
        found = {text: list(tokenizer([text])["input_ids"][0]) for text in CLIP_TOKENS}
        text = next((text for text in found if found[text] != CLIP_TOKENS[text]), next(iter(found)))
        yield Row(known, str(CLIP_TOKENS[text]), str(found[text]), found == CLIP_TOKENS)
    else:
        yield Row(known)
    if hasattr(tokenizer, "decode"):
        decoded = tokenizer.decode(tokenizer([DECODED])["input_ids"][0], skip_special_tokens=True).strip()
        yield Row(back, DECODED, decoded, decoded == DECODED)
    else:
        yield Row(back)


def _texts(seen: Seen, expected: Expected) -> Iterator[Row]:
    def encode(texts: Iterable[str]) -> Float[np.ndarray, "q d"]:
        return as_numpy(seen.backbone.encode_text(list(texts)))

    columns = zip(*SYNONYMS, strict=True)
    names, synonyms = (encode(f"a photo of a {name}" for name in column) for column in columns)
    found = ranked_first(cosines(names, synonyms))
    yield Row.counted("synonym nearest of all", expected.synonyms, found, len(names))
    capitals = encode(f"{caption.upper()} " for caption in seen.captions)
    found = ranked_first(cosines(seen.texts, capitals))
    yield Row.counted("the same in capitals nearest of all", CAPITALS, found, len(capitals))


def _numbers(seen: Seen) -> Iterator[Row]:
    arrays = {"images": seen.images, "texts": seen.texts, "logits": seen.logits}
    broken = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    found = f"not: {', '.join(broken)}" if broken else "all"
    yield Row("embeddings and logits finite", "all", found, not broken)
    alike = (mean_cosine(seen.images), mean_cosine(seen.texts))
    yield Row.most("mean cosine of images, of texts", COLLAPSED, *alike)
    yield Row.most("distance of an image encoded again", NOISE, repeated(seen))
    scale = logit_scale(seen)
    if scale is None:  # no cosine: its embeddings may have any length
        yield from (Row("logit scale"), Row("length of the embeddings"))
    else:
        yield Row.within("logit scale", SCALES, scale)
        lengths = np.linalg.norm(np.concatenate([seen.images, seen.texts]), axis=1)
        yield Row.within("length of the embeddings", UNIT, float(lengths.min()), float(lengths.max()))
