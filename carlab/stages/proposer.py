"""f, the mask proposer: Grad-CAM on a frozen image-text model, in closed form.

Let A (n, c) be the patch tokens that the backbone's tail reads, l_j the logit
of text j, g_j = mean over tokens of d l_j / d A, and m_j = A g_j. None of
them depends on which queries are active, and the softmax Jacobian gives the
Grad-CAM of query k in any set h, against the background B:

    cam_k(h) = relu(m_k - sum_{j in h and B} p_j m_j),  p = softmax of l over h and B

The background enters only through its own softmax-weighted map and its
log-sum-exp, as if it were one more text. So |Q| + 1 vector-Jacobian products,
once an image, give every CAM of every step, for every subset of the queries
and every background weight, by arithmetic (METHOD section 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from scipy.special import softmax
from torch import Tensor

from carlab.backbones.protocol import FrozenVlm, Trunk
from carlab.errors import BackboneError, SettingError
from carlab.ledger import count, timed
from carlab.probes import as_numpy, probe
from carlab.queries import CAM_TEMPLATE, check_template, fill_all
from carlab.stages.affinity import Affinity

VJP_CHUNK_BYTES = 2**28
"""On a GPU products are batched; the widest tensor of a batch stays below this."""


class Evidence(NamedTuple):
    """What the image says about one text: all that the closed form needs."""

    logit: float
    map: Float[np.ndarray, " n"]


class Proposal(NamedTuple):
    """What the proposer says of the active queries in one step."""

    cams: Float32[np.ndarray, "q i j"]
    """Grad-CAM in [0, 1]."""
    masks: Float32[np.ndarray, "q i j"]
    """Soft masks in [0, 1], after the affinity."""


@dataclass
class Proposals:
    """One image, prepared: the trunk's output, and all evidence gathered so far.

    Evidence is kept by text, so other queries, another template or another
    background cost only the products of the texts that are new.
    """

    backbone: FrozenVlm
    trunk: Trunk
    texts: dict[str, Evidence] = field(default_factory=dict)
    backgrounds: dict[tuple[str, ...], Evidence] = field(default_factory=dict)
    transitions: dict[Affinity, Float[Tensor, "n n"]] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, int]:
        """Patch rows and columns."""
        return self.trunk.grid

    def gather(self, texts: Sequence[str], background: tuple[str, ...]) -> None:
        """Make sure that the evidence of these texts, and of this background, is there."""
        missing = [text for text in texts if text not in self.texts]
        unmet = background if background not in self.backgrounds else ()
        if missing or unmet:
            gathered = gather(self.backbone, self.trunk, missing, unmet)
            if unmet:
                self.backgrounds[background] = gathered.pop()
            self.texts.update(zip(missing, gathered, strict=True))

    def transition(self, affinity: Affinity) -> Float[Tensor, "n n"]:
        """D of this image, computed once per setting of the affinity."""
        if affinity not in self.transitions:
            with timed("affinity"):
                count("affinity")
                self.transitions[affinity] = affinity.transition(self.trunk.relations)
        return self.transitions[affinity]


@dataclass(frozen=True)
class GradCam:
    """Grad-CAM against the other active queries and the background, then affinity.

    Attributes
    ----------
    compete
        True: the active queries compete with each other (semantic use); False:
        each stands alone against the background (referring use).
    template, first_template
        How a query is written for the image model; the release writes the bare
        name in the first step (`first_template="{}"`, quirk 4). None: the same.
    background_weight
        Factor on the exponentials of the background's logits, 0 or more; 0 is
        no background.
    keep_probability
        As released, scale each map by p_k before min-max. It cancels but for
        the 1e-15 in the denominator, and matters only where p_k is tiny.
    """

    backbone: FrozenVlm
    affinity: Affinity | None = field(default_factory=Affinity)
    compete: bool = True
    template: str = CAM_TEMPLATE
    first_template: str | None = None
    background_weight: float = 1.0
    keep_probability: bool = False

    def __post_init__(self) -> None:
        for template in (self.template, self.first_template):
            if template is not None:
                check_template(template)
        if not self.background_weight >= 0:
            raise SettingError(
                f"expected a background weight of 0 or more, got {self.background_weight}; 1 is the paper's"
            )

    def prepare(
        self, image: UInt8[np.ndarray, "h w 3"], queries: Sequence[str], background: tuple[str, ...]
    ) -> Proposals:
        """Run the trunk once and gather the evidence of the first step.

        Raises
        ------
        QueryError
            If a text has more tokens than the model reads.
        BackboneError
            If the model answers with NaN or infinity.
        """
        trunk = self.backbone.trunk(image)
        trunk = replace(
            trunk,
            activations=probe("cam.activations", trunk.activations),
            relations=probe(f"affinity.{trunk.relation_kind}", trunk.relations),
        )
        proposals = Proposals(self.backbone, trunk)
        if self.affinity is not None:
            proposals.transition(self.affinity)
        self._gather(proposals, queries, background, 0)
        return proposals

    def can_use(self, proposals: object) -> bool:
        """Whether what was prepared by another proposer serves this one."""
        return isinstance(proposals, Proposals) and proposals.backbone is self.backbone

    def __call__(
        self, proposals: Proposals, queries: Sequence[str], background: tuple[str, ...], t: int
    ) -> Proposal:
        """CAMs and soft masks of the active `queries` in step `t` (from 0)."""
        evidence, context = self._gather(proposals, queries, background, t)
        raw = self._closed_form(evidence, context)
        flat = ~raw.any(axis=1)
        if context is not None and flat.any():  # nothing stood out: compare without background
            raw[flat] = self._closed_form(evidence, None)[flat]
        maps = probe("cam.raw", raw.reshape(-1, *proposals.grid).astype(np.float32))
        cams = probe("cam.normalised", min_max(maps))
        return Proposal(cams, probe("mask.refined", min_max(self._refine(proposals, cams))))

    def _gather(
        self, proposals: Proposals, queries: Sequence[str], background: tuple[str, ...], t: int
    ) -> tuple[list[Evidence], Evidence | None]:
        template = self.template if t or self.first_template is None else self.first_template
        texts, context = fill_all(template, queries), tuple(fill_all(self.template, background))
        proposals.gather(texts, context)
        evidence = [proposals.texts[text] for text in texts]
        if not context or self.background_weight == 0:
            return evidence, None
        level, common = proposals.backgrounds[context]
        return evidence, Evidence(level + log(self.background_weight), common)

    def _refine(
        self, proposals: Proposals, cams: Float32[np.ndarray, "q i j"]
    ) -> Float32[np.ndarray, "q i j"]:
        if self.affinity is None:
            return cams
        return self.affinity.refine(cams, proposals.transition(self.affinity))

    def _closed_form(
        self, evidence: Sequence[Evidence], background: Evidence | None
    ) -> Float64[np.ndarray, "q n"]:
        if self.compete:
            return competing_cams(evidence, background, self.keep_probability)
        alone = [competing_cams([text], background, self.keep_probability) for text in evidence]
        return np.concatenate(alone)


def gather(
    backbone: FrozenVlm, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()
) -> list[Evidence]:
    """Evidence of every text, then of the background as one, if there is any.

    One forward pass of the tail, and len(texts) + bool(background)
    vector-Jacobian products of it, batched; no hooks, no `.backward()`.
    """
    embeddings = backbone.encode_text([*texts, *background])
    with timed("vjp"):
        leaf = trunk.activations.detach().requires_grad_()
        with torch.enable_grad():
            logits = backbone.logits(backbone.tail(trunk, leaf)[None], embeddings)[0]
        own, context = logits.detach()[: len(texts)], logits.detach()[len(texts) :]
        probe("cam.logits", own)
        cotangents = torch.eye(len(texts), len(logits), device=logits.device, dtype=logits.dtype)
        levels = as_numpy(own)
        if background:
            probe("cam.background", context)
            mixed = torch.cat([torch.zeros_like(own), context.softmax(0)])
            cotangents = torch.cat([cotangents, mixed[None]])
            levels = np.append(levels, as_numpy(context.logsumexp(0)))
        gradients = probe("cam.gradients", mean_gradients(logits, leaf, cotangents))
        maps = as_numpy(gradients @ leaf.detach().T)
    if not (np.isfinite(levels).all() and np.isfinite(maps).all()):
        raise BackboneError(
            f"expected finite logits and gradients, got NaN or infinity from {backbone.name}; "
            "use float32, or load the weights again"
        )
    return [Evidence(float(level), line) for level, line in zip(levels, maps, strict=True)]


def mean_gradients(
    logits: Float[Tensor, " b"], leaf: Float[Tensor, "n c"], cotangents: Float[Tensor, "v b"]
) -> Float[Tensor, "v c"]:
    """Mean over tokens of the vector-Jacobian products, one per row of `cotangents`."""
    count("vjp", len(cotangents))
    if leaf.device.type == "cpu":  # one by one is faster here, and takes a chunk's memory once
        rows = (torch.autograd.grad(logits, leaf, row, retain_graph=True)[0] for row in cotangents)
        return torch.stack([row.mean(dim=0) for row in rows])
    tokens, width = leaf.shape
    chunk = max(1, VJP_CHUNK_BYTES // (16 * 4 * tokens * max(tokens, width)))
    batches = (
        torch.autograd.grad(logits, leaf, rows, retain_graph=True, is_grads_batched=True)[0]
        for rows in cotangents.split(chunk)
    )
    return torch.cat([batch.mean(dim=1) for batch in batches])


def competing_cams(
    evidence: Sequence[Evidence], background: Evidence | None, keep_probability: bool
) -> Float64[np.ndarray, "q n"]:
    """relu(m_k - sum_j p_j m_j) for every text, in double precision, before min-max."""
    texts = [*evidence, background] if background is not None else list(evidence)
    logits = np.array([text.logit for text in texts], dtype=np.float64)
    maps = np.array([text.map for text in texts], dtype=np.float64)
    probs = softmax(logits)
    raw = np.maximum(maps - probs @ maps, 0)
    return np.asarray((raw * probs[:, None] if keep_probability else raw)[: len(evidence)])


def min_max(maps: Float32[np.ndarray, "q i j"]) -> Float32[np.ndarray, "q i j"]:
    """Each map to [0, 1]; a flat map becomes 0."""
    low = maps.min(axis=(1, 2), keepdims=True)
    span = (maps - low).max(axis=(1, 2), keepdims=True)
    return ((maps - low) / (span + np.float32(1e-15))).astype(np.float32)
