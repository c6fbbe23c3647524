"""What all mask proposers share: a map for each text, against the others, then affinity.

A proposer gathers evidence of each text once an image (`gather`), and makes the maps of any active set from
it (`closed_form`): Grad-CAM from gradients, MaskCLIP and its relatives from the logits of the patches. Where
those maps follow from the evidence by arithmetic, every subset of the queries is free.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from carlab.backbones.base import AttentionVlm, DenseVlm, FrozenVlm, Trunk
from carlab.cache import Cache, size, stage_key
from carlab.errors import BackboneError, SettingError
from carlab.files.shapes import Maps
from carlab.hooks import as_numpy, probe, timed
from carlab.photo import Photo
from carlab.queries import CAM_TEMPLATE, check_template
from carlab.stages.affinity import Affinity
from carlab.stages.base import Proposal

Key = str | tuple[str, ...]
"""Of evidence: a text, or the texts of a background."""
NOTHING = np.empty(0, dtype=np.float32)
KINDS = {
    AttentionVlm: "whose blocks can be run with other attention (CLIP, open_clip, SigLIP)",
    DenseVlm: "that embeds each patch by itself (CLIP, open_clip, SigLIP, offline)",
}
"""What a proposer may need of its backbone, in words, and the families that have it."""


class Evidence(NamedTuple):
    """What the maps of a step need of one text, or of the background as one.

    Parameters
    ----------
    logit
        l_j; of the background the log-sum-exp over its texts. 0 where it is in the map itself.
    map
        m_j; of Grad-CAM A g_j, of dense features the logit of every patch.
    gradient, parts
        g_j, and the logits of the texts that it stands for: of Grad-CAM and its variants.
    """

    logit: float
    map: Float[np.ndarray, " n"]
    gradient: Float[np.ndarray, " c"] = NOTHING
    parts: Float[np.ndarray, " b"] = NOTHING


@dataclass
class Proposals:
    """Everything that `prepare` computes once for an image, its queries and their background.

    Parameters
    ----------
    trunk
        Output of the backbone's trunk.
    transition
        D of the affinity; None without affinity.
    texts
        All queries as written in the first step, and in later ones; what is active refers to them by index.
    store
        The photo's cache, with evidence of everything that the image was ever prepared for.
    evidence
        That of these queries, as written in a template, and of the background.
    context
        Of the background, its weight included; None: no background.
    against
        The background queries as written.
    under
        Key of the proposer, under which its evidence is stored.
    """

    trunk: Trunk
    transition: Float[Tensor, "n n"] | None
    texts: tuple[list[str], list[str]]
    store: Cache
    evidence: dict[Key, Evidence] = field(default_factory=dict)
    context: Evidence | None = None
    against: tuple[str, ...] = ()
    under: tuple[Any, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of its evidence; a cache counts trunk and transition under keys of their own."""
        written_twice = self.texts[0] != self.texts[1]  # the evidence of later steps comes later
        return size(self.evidence) * (1 + written_twice)


@dataclass(frozen=True)
class Proposer:
    """Maps of the active queries from evidence of each text, then affinity.

    A variant overrides `gather` and `closed_form`; nothing else knows how a map is made.

    Raises SettingError or QueryError if the weight is negative, a template has not exactly one `{}`, or the
    backbone has not what the proposer needs.

    Parameters
    ----------
    backbone
        The frozen image-text model.
    affinity
        Refines the maps; None: they are the soft masks.
    compete
        True: the active queries compete with each other (semantic use); False: each competes with the
        background alone (referring use).
    template, first_template
        How a query is written for the text encoder; the release writes the bare name in the first step
        (`first_template="{}"`, quirk 4). None: the same.
    background_weight
        Factor on the exponentials of the background's logits, 0 or more; 0 is no background.
    """

    backbone: FrozenVlm
    affinity: Affinity | None = field(default_factory=Affinity)
    compete: bool = True
    template: str = CAM_TEMPLATE
    first_template: str | None = None
    background_weight: float = 1.0

    ARITHMETIC: ClassVar[tuple[str, ...]] = (
        *("affinity", "compete", "template", "first_template", "background_weight"),
    )
    """Fields that the evidence of a text does not depend on; a variant's own fields are not among them."""
    NEEDS: ClassVar[Any] = FrozenVlm
    """Protocol that the backbone must fulfil."""
    ALONE: ClassVar[bool] = False
    """Whether a query's map is its own, whatever else is active and in the background."""

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, self.NEEDS):
            from carlab.stages.proposer.table import supported  # it loads every variant

            name = getattr(self.backbone, "name", type(self.backbone).__name__)
            raise SettingError(
                f"expected a backbone {KINDS[self.NEEDS]} for {type(self).__name__}, got {name}; take such a "
                f"backbone, or with this one a proposer out of {', '.join(supported(self.backbone))}"
            )
        for template in (self.template, self.first_template):
            if template is not None:
                check_template(template)
        if not self.background_weight >= 0:
            raise SettingError(
                f"expected a background weight of 0 or more, got {self.background_weight}; 1 is the paper's"
            )

    def prepare(self, photo: Photo, queries: Sequence[str], background: tuple[str, ...]) -> Proposals:
        """Run the trunk once and gather the evidence of the first step.

        Raises QueryError if a text has more tokens than the model reads; BackboneError if the model returns
        NaN or infinity.
        """
        get = photo.cache.get
        trunk = get(("trunk", self.backbone), lambda: self._trunk(photo))
        trunk = replace(
            trunk,
            activations=probe("cam.activations", trunk.activations),
            relations=probe(f"affinity.{trunk.relation_kind}", trunk.relations),
        )
        transition = None
        if self.affinity is not None:
            key = ("transition", self.backbone, *stage_key(self.affinity, "box_threshold", "cut_border"))
            transition = probe("affinity.transition", get(key, lambda: self._transition(photo, trunk)))
        under = ("evidence", *stage_key(self, *self.ARITHMETIC))
        texts = written(queries, self.first_template or self.template)
        both = texts, written(queries, self.template)
        against = tuple(written(background, self.template)) if self.background_weight else ()
        against = () if self.ALONE else against
        proposals = Proposals(trunk, transition, both, photo.cache, against=against, under=under)
        self._gather(proposals, [*texts, against] if against else texts)
        if against:
            whole = proposals.evidence[against]
            proposals.context = whole._replace(logit=whole.logit + log(self.background_weight))
        self.report(list(proposals.evidence.values()), len(dict.fromkeys(texts)))
        return proposals

    def __call__(self, proposals: Proposals, active: Int[np.ndarray, " q"], t: int) -> Proposal:
        """Return maps and soft masks of the active queries in step `t` (from 0)."""
        texts = [proposals.texts[t > 0][query] for query in active]
        raw = self.raw(proposals, texts, proposals.context)
        flat = ~raw.any(axis=1)
        if proposals.context is not None and flat.any():  # nothing stood out: compare without background
            raw[flat] = self.raw(proposals, texts, None)[flat]
        maps = probe("cam.raw", raw.reshape(-1, *proposals.trunk.grid).astype(np.float32))
        cams = probe("cam.normalised", min_max(maps))
        refined = cams
        if self.affinity is not None and proposals.transition is not None:
            refined = self.affinity.refine(cams, proposals.transition)
        return Proposal(cams, probe("mask.refined", min_max(refined)))

    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        """Return the evidence of every text, then of the background as one, if there is any."""
        raise NotImplementedError

    def closed_form(self, own: Sequence[Evidence], context: Evidence | None) -> Float64[np.ndarray, "q n"]:
        """Return the map of every query, 0 or more, in double precision, before min-max.

        Parameters
        ----------
        own
            Of the active queries.
        context
            Of the background, its weight included; None: no background.
        """
        raise NotImplementedError

    def raw(
        self, proposals: Proposals, texts: Sequence[str], context: Evidence | None
    ) -> Float64[np.ndarray, "q n"]:
        """Return the maps of the active texts: what is missing is gathered, the rest is arithmetic."""
        return self.closed_form(self.evidence(proposals, texts), context)

    def evidence(self, proposals: Proposals, texts: Sequence[str]) -> list[Evidence]:
        """Return the evidence of texts; what the first step had not is gathered."""
        missing = [text for text in texts if text not in proposals.evidence]
        if missing:
            self._gather(proposals, missing)
        return [proposals.evidence[text] for text in texts]

    def report(self, evidence: Sequence[Evidence], texts: int) -> None:
        """Report what was gathered of so many texts, and of the background if one comes after them."""

    def _gather(self, proposals: Proposals, keys: Sequence[Key]) -> None:
        """Add the evidence of texts, and of a background as one, from the cache or the model."""

        def make(missing: Sequence[tuple[Any, Key]]) -> list[Evidence]:
            texts = [key for _, key in missing if isinstance(key, str)]
            together = next((key for _, key in missing if isinstance(key, tuple)), ())
            made = self.gather(proposals.trunk, texts, together)
            if not all(np.isfinite(one.logit) and np.isfinite(one.map).all() for one in made):
                raise BackboneError(
                    "expected finite logits and gradients, got NaN or infinity from "
                    f"{self.backbone.name}; use float32, or load the weights again"
                )
            return made

        found = proposals.store.get_all([(proposals.under, key) for key in keys], make)
        proposals.evidence.update(zip(keys, found, strict=True))

    def _trunk(self, photo: Photo) -> Trunk:
        photo.cache.drop("inputs")  # those that were made of one that was not kept would keep it
        return self.backbone.trunk(photo.image)

    def _transition(self, photo: Photo, trunk: Trunk) -> Float[Tensor, "n n"]:
        assert self.affinity is not None  # noqa: S101 - for the type checker
        photo.cache.drop("inputs")
        with timed("affinity", passes=1):
            return self.affinity.transition(trunk.relations)


def written(queries: Iterable[str], template: str) -> list[str]:
    """Return the queries as the template writes them.

    Parameters
    ----------
    queries, template
        The template has one `{}`.

    Examples
    --------
    >>> written(["cat", "{x}"], "a {}.")
    ['a cat.', 'a {x}.']
    """
    # str.replace, never str.format: a query is the user's text and may hold braces itself.
    return [template.replace("{}", query) for query in queries]


def together(*tensors: Float[Tensor, "..."]) -> list[Float[np.ndarray, "..."]]:
    """Return tensors of one type as arrays, moved in one piece: each move from a GPU waits for it."""
    flat = as_numpy(torch.cat([tensor.flatten() for tensor in tensors]))
    pieces = np.split(flat, np.cumsum([tensor.numel() for tensor in tensors])[:-1])
    return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]


def min_max(maps: Maps) -> Maps:
    """Scale each map to [0, 1]; a flat map becomes 0.

    Parameters
    ----------
    maps
        Of any range.

    Examples
    --------
    >>> min_max(np.array([[[1, 3], [5, 1]]], dtype=np.float32))
    array([[[0. , 0.5],
            [1. , 0. ]]], dtype=float32)
    """
    low = maps.min(axis=(1, 2), keepdims=True)
    span = (maps - low).max(axis=(1, 2), keepdims=True)
    return ((maps - low) / (span + np.float32(1e-15))).astype(np.float32)
