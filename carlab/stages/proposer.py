"""f, the mask proposer: Grad-CAM on a frozen image-text model, in closed form.

Let A (n, c) be the patch tokens that the backbone's tail reads, l_j the logit of text j, g_j = mean over
tokens of d l_j / d A, and m_j = A g_j. None of them depends on which queries are active, and the softmax
Jacobian gives the Grad-CAM of query k in any set h, against the background B:

    cam_k(h) = relu(m_k - sum_{j in h and B} p_j m_j),  p = softmax of l over h and B

The background enters only through its own softmax-weighted map and its log-sum-exp, as if it were one more
text. So ``|Q| + 1`` vector-Jacobian products, once an image, give every CAM of every step, for every subset
of the queries and every background weight, by arithmetic (docs/method.md, section 2).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from scipy.special import softmax
from torch import Tensor

from carlab.backbones.base import FrozenVlm, Trunk
from carlab.cache import Cache, size, stage_key
from carlab.errors import BackboneError, SettingError
from carlab.files.shapes import Maps
from carlab.hooks import as_numpy, count, probe, timed
from carlab.photo import Photo
from carlab.queries import CAM_TEMPLATE, check_template
from carlab.stages.affinity import Affinity
from carlab.stages.base import Proposal

VJP_CHUNK_BYTES = 2**28
"""On a GPU products are batched; the widest tensor of a batch stays below this."""
Key = str | tuple[str, ...]
"""Of evidence: a text, or the texts of a background."""


class Evidence(NamedTuple):
    """What the closed form needs of one text, or of the background as one.

    Parameters
    ----------
    logit
        l_j; of the background the log-sum-exp over its texts.
    map, gradient
        m_j = A g_j, and g_j.
    parts
        Logits of the texts that it stands for.
    """

    logit: float
    map: Float[np.ndarray, " n"]
    gradient: Float[np.ndarray, " c"]
    parts: Float[np.ndarray, " b"]


@dataclass
class Proposals:
    """Everything that `GradCam.prepare` computes once for an image, its queries and their background.

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
    under
        Key of the proposer, under which its evidence is stored.
    """

    trunk: Trunk
    transition: Float[Tensor, "n n"] | None
    texts: tuple[list[str], list[str]]
    store: Cache
    evidence: dict[Key, Evidence] = field(default_factory=dict)
    context: Evidence | None = None
    under: tuple[Any, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of its evidence; a cache counts trunk and transition under keys of their own."""
        written_twice = self.texts[0] != self.texts[1]  # the evidence of later steps comes later
        return size(self.evidence) * (1 + written_twice)


@dataclass(frozen=True)
class GradCam:
    """Grad-CAM against the other active queries and the background, then affinity.

    A variant overrides `gather`, or `closed_form`; nothing else knows how a map is made.

    Raises SettingError or QueryError if the weight is negative, or a template has not exactly one `{}`.

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
    keep_probability
        As released, scale each map by p_k before min-max. It cancels but for the 1e-15 in the denominator,
        and matters only where p_k is tiny.

    Examples
    --------
    >>> photo = Photo.of(image)
    >>> proposer = replace(model.proposer, background_weight=0.5)
    >>> proposals = proposer.prepare(photo, ("cat", "dog", "red car"), ("sky",))
    >>> cams, masks = proposer(proposals, np.array([0, 2]), t=0)
    >>> cams.shape == masks.shape == (2, *proposals.trunk.grid)
    True
    """

    backbone: FrozenVlm
    affinity: Affinity | None = field(default_factory=Affinity)
    compete: bool = True
    template: str = CAM_TEMPLATE
    first_template: str | None = None
    background_weight: float = 1.0
    keep_probability: bool = False

    ARITHMETIC: ClassVar[tuple[str, ...]] = (
        *("affinity", "compete", "template", "first_template"),
        *("background_weight", "keep_probability"),
    )
    """Fields that the evidence of a text does not depend on; a variant's own fields are not among them."""

    def __post_init__(self) -> None:
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
        proposals = Proposals(trunk, transition, both, photo.cache, under=under)
        against = tuple(written(background, self.template)) if self.background_weight else ()
        self._gather(proposals, [*texts, against] if against else texts)
        own = list(proposals.evidence.values())
        if against:
            proposals.context = own[-1]._replace(logit=own[-1].logit + log(self.background_weight))
            probe("cam.background", own[-1].parts, edit=False)
        probe("cam.logits", np.concatenate([one.parts for one in own[: len(texts)]]), edit=False)
        probe("cam.gradients", np.stack([one.gradient for one in own]), edit=False)
        return proposals

    def __call__(self, proposals: Proposals, active: Int[np.ndarray, " q"], t: int) -> Proposal:
        """Return CAMs and soft masks of the active queries in step `t` (from 0)."""
        texts = [proposals.texts[t > 0][query] for query in active]
        missing = [text for text in texts if text not in proposals.evidence]
        if missing:
            self._gather(proposals, missing)
        own = [proposals.evidence[text] for text in texts]
        raw = self.closed_form(own, proposals.context)
        flat = ~raw.any(axis=1)
        if proposals.context is not None and flat.any():  # nothing stood out: compare without background
            raw[flat] = self.closed_form(own, None)[flat]
        maps = probe("cam.raw", raw.reshape(-1, *proposals.trunk.grid).astype(np.float32))
        cams = probe("cam.normalised", min_max(maps))
        refined = cams
        if self.affinity is not None and proposals.transition is not None:
            refined = self.affinity.refine(cams, proposals.transition)
        return Proposal(cams, probe("mask.refined", min_max(refined)))

    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        """Return the evidence of every text, then of the background as one, if there is any.

        One forward pass of the tail, and len(texts) + bool(background) vector-Jacobian products of it,
        batched; no hooks, no `.backward()`.

        Raises BackboneError if the model returns NaN or infinity.
        """
        embeddings = self.backbone.encode_text([*texts, *background])
        with timed("vjp"):
            leaf = trunk.activations.detach().requires_grad_()
            with torch.enable_grad():
                logits = self.backbone.logits(self.backbone.tail(trunk, leaf)[None], embeddings)[0]
            own = probe("cam.logits", logits.detach()[: len(texts)], record=False)
            levels, parts = own, own
            cotangents = torch.eye(len(texts), len(logits), device=logits.device, dtype=logits.dtype)
            if background:
                context = probe("cam.background", logits.detach()[len(texts) :], record=False)
                mixed = torch.cat([torch.zeros_like(own), context.softmax(0)])
                cotangents = torch.cat([cotangents, mixed[None]])
                levels = torch.cat([own, context.logsumexp(0, keepdim=True)])
                parts = torch.cat([own, context])
            gradients = probe("cam.gradients", mean_gradients(logits, leaf, cotangents), record=False)
            maps = gradients @ leaf.detach().T
            levels, parts, maps, gradients = together(levels, parts, maps, gradients)
        if not (np.isfinite(levels).all() and np.isfinite(maps).all()):
            raise BackboneError(
                f"expected finite logits and gradients, got NaN or infinity from {self.backbone.name}; "
                "use float32, or load the weights again"
            )
        each = np.split(parts, range(1, len(levels)))  # a logit each; what is left is the background's
        # Copies: a view of one row would keep those of all texts in memory.
        rows = zip(levels.tolist(), maps, gradients, each, strict=True)
        return [Evidence(level, *(part.copy() for part in parts)) for level, *parts in rows]

    def closed_form(self, own: Sequence[Evidence], context: Evidence | None) -> Float64[np.ndarray, "q n"]:
        """Return relu(m_k - sum_j p_j m_j) for every query, in double precision, before min-max.

        Parameters
        ----------
        own
            Of the active queries.
        context
            Of the background, its weight included; None: no background.
        """
        everything = [*own, context] if context is not None else own
        logits = np.array([one.logit for one in everything], dtype=np.float64)
        maps = np.array([one.map for one in everything], dtype=np.float64)
        q = len(own)
        if self.compete:
            probs = softmax(logits)
            mixture, shares = probs @ maps, probs[:q]
        elif context is None:  # a query alone: p = 1, and nothing is left of its map
            mixture, shares = maps, np.ones(q)
        else:
            pairs = softmax(np.stack([logits[:q], np.full(q, context.logit)]), axis=0)
            mixture, shares = pairs.T[:, :1] * maps[:q] + pairs.T[:, 1:] * maps[q:], pairs[0]
        raw = np.maximum(maps[:q] - mixture, 0)
        return np.asarray(raw * shares[:, None] if self.keep_probability else raw)

    def _gather(self, proposals: Proposals, keys: Sequence[Key]) -> None:
        """Add the evidence of texts, and of a background as one, from the cache or the model."""

        def make(missing: Sequence[tuple[Any, Key]]) -> list[Evidence]:
            texts = [key for _, key in missing if isinstance(key, str)]
            together = next((key for _, key in missing if isinstance(key, tuple)), ())
            return self.gather(proposals.trunk, texts, together)

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


def mean_gradients(
    logits: Float[Tensor, " b"], leaf: Float[Tensor, "n c"], cotangents: Float[Tensor, "v b"]
) -> Float[Tensor, "v c"]:
    """Return the mean over tokens of vector-Jacobian products.

    Parameters
    ----------
    logits, leaf
        The logits of one image, and the patch tokens that they were computed from.
    cotangents
        Weights of the logits; each row gives a product.

    Examples
    --------
    >>> leaf = torch.ones(2, 3, requires_grad=True)
    >>> mean_gradients(leaf.sum()[None], leaf, torch.tensor([[2.0]]))
    tensor([[2., 2., 2.]])
    """
    count("vjp", len(cotangents))
    return (one_by_one if leaf.device.type == "cpu" else in_batches)(logits, leaf, cotangents)


def one_by_one(
    logits: Float[Tensor, " b"], leaf: Float[Tensor, "n c"], cotangents: Float[Tensor, "v b"]
) -> Float[Tensor, "v c"]:
    """Compute the mean products in turn: faster on a CPU, and the memory of one product."""
    rows = (torch.autograd.grad(logits, leaf, row, retain_graph=True)[0] for row in cotangents)
    return torch.stack([row.mean(dim=0) for row in rows])


def in_batches(
    logits: Float[Tensor, " b"], leaf: Float[Tensor, "n c"], cotangents: Float[Tensor, "v b"]
) -> Float[Tensor, "v c"]:
    """Compute the mean products many at once, for a GPU."""
    tokens, width = leaf.shape
    chunk = max(1, VJP_CHUNK_BYTES // (16 * 4 * tokens * max(tokens, width)))
    batches = (
        torch.autograd.grad(logits, leaf, rows, retain_graph=True, is_grads_batched=True)[0]
        for rows in cotangents.split(chunk)
    )
    return torch.cat([batch.mean(dim=1) for batch in batches])


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
