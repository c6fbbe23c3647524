"""f, the mask proposer: Grad-CAM on a frozen image-text model, in closed form.

Let A (n, c) be the patch tokens that the backbone's tail reads, l_j the logit of text j, g_j = mean over
tokens of d l_j / d A, and m_j = A g_j. None of them depends on which queries are active, and the softmax
Jacobian gives the Grad-CAM of query k in any set h, against the background B:

    cam_k(h) = relu(m_k - sum_{j in h and B} p_j m_j),  p = softmax of l over h and B

The background enters only through its own softmax-weighted map and its log-sum-exp, as if it were one more
text. So ``|Q| + 1`` vector-Jacobian products, once an image, give every CAM of every step, for every subset
of the queries and every background weight, by arithmetic (docs/method.md, section 2).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.special import softmax
from torch import Tensor

from carlab.backbones.base import Trunk
from carlab.hooks import count, probe, timed
from carlab.stages.proposer.base import Evidence, Proposer, together

VJP_CHUNK_BYTES = 2**28
"""On a GPU products are batched; the widest tensor of a batch stays below this."""
Reduce = Callable[[Float[Tensor, "v ..."]], Float[Tensor, "v ..."]]
"""Gradients to what is kept of them: all at once they would be as large as the leaf for each text."""


@dataclass(frozen=True)
class GradCam(Proposer):
    """Grad-CAM against the other active queries and the background, then affinity.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017; on CLIP, against a background, Lin et al., "CLIP is Also
    an Efficient Segmenter", CVPR 2023. A variant overrides `gather`, `maps` or `closed_form`.

    Raises SettingError or QueryError if the weight is negative, or a template has not exactly one `{}`.

    Parameters
    ----------
    keep_probability
        As released, scale each map by p_k before min-max. It cancels but for the 1e-15 in the denominator,
        and matters only where p_k is tiny. The other fields are those of every `Proposer`.

    Examples
    --------
    >>> photo = Photo.of(image)
    >>> proposer = replace(model.proposer, background_weight=0.5)
    >>> proposals = proposer.prepare(photo, ("cat", "dog", "red car"), ("sky",))
    >>> cams, masks = proposer(proposals, np.array([0, 2]), t=0)
    >>> cams.shape == masks.shape == (2, *proposals.trunk.grid)
    True
    """

    keep_probability: bool = False

    ARITHMETIC: ClassVar[tuple[str, ...]] = (*Proposer.ARITHMETIC, "keep_probability")

    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        """Return the evidence of every text, then of the background as one, if there is any.

        One forward pass of the tail, and len(texts) + bool(background) vector-Jacobian products of it,
        batched; no hooks, no `.backward()`.
        """
        embeddings = self.backbone.encode_text([*texts, *background])
        with timed("vjp"):
            logits, leaf = self.differentiable(trunk, embeddings)
            own = probe("cam.logits", logits.detach()[: len(texts)], record=False)
            levels, parts = own, own
            cotangents = torch.eye(len(texts), len(logits), device=logits.device, dtype=logits.dtype)
            if background:
                context = probe("cam.background", logits.detach()[len(texts) :], record=False)
                mixed = torch.cat([torch.zeros_like(own), context.softmax(0)])
                cotangents = torch.cat([cotangents, mixed[None]])
                levels = torch.cat([own, context.logsumexp(0, keepdim=True)])
                parts = torch.cat([own, context])
            scores, logs, *found = together(levels, parts, *self.maps(logits, leaf, cotangents))
        each = np.split(logs, range(1, len(scores)))  # a logit each; what is left is the background's
        # Copies: a view of one row would keep those of all texts in memory.
        rows = zip(scores.tolist(), *found, each, strict=True)
        return [Evidence(level, *(part.copy() for part in parts)) for level, *parts in rows]

    def differentiable(
        self, trunk: Trunk, embeddings: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "n c"]]:
        """Return the logits of text embeddings, and the patch tokens that they are differentiated by."""
        leaf = trunk.activations.detach().requires_grad_()
        with torch.enable_grad():
            return self.backbone.logits(self.backbone.tail(trunk, leaf)[None], embeddings)[0], leaf

    def maps(
        self, logits: Float[Tensor, " b"], leaf: Float[Tensor, "n c"], cotangents: Float[Tensor, "v b"]
    ) -> tuple[Float[Tensor, "v n"], Float[Tensor, "v c"]]:
        """Return m = A g of each weighted sum of logits, and g, its gradient's mean over the patches."""
        gradients = products(logits, leaf, cotangents, lambda each: each.mean(dim=1))
        gradients = probe("cam.gradients", gradients, record=False)
        return gradients @ leaf.detach().T, gradients

    def closed_form(self, own: Sequence[Evidence], context: Evidence | None) -> Float64[np.ndarray, "q n"]:
        """Return relu(m_k - sum_j p_j m_j) for every query, in double precision, before min-max.

        Parameters
        ----------
        own
            Of the active queries.
        context
            Of the background, its weight included; None: no background.
        """
        maps = np.array([one.map for one in (own if context is None else [*own, context])], dtype=np.float64)
        difference, shares = self.contrast(own, context, maps)
        raw = np.maximum(difference, 0)
        return np.asarray(raw * shares[:, None] if self.keep_probability else raw)

    def contrast(
        self, own: Sequence[Evidence], context: Evidence | None, maps: Float64[np.ndarray, "v n"]
    ) -> tuple[Float64[np.ndarray, "q n"], Float64[np.ndarray, " q"]]:
        """Return m_k - sum_j p_j m_j and p_k of every query; rows m are those of `own` and `context`."""
        everything = own if context is None else [*own, context]
        logits, q = np.array([one.logit for one in everything], dtype=np.float64), len(own)
        if self.compete:
            probs = softmax(logits)
            mixture, shares = probs @ maps, probs[:q]
        elif context is None:  # a query alone: p = 1, and nothing is left of its map
            mixture, shares = maps, np.ones(q)
        else:
            pairs = softmax(np.stack([logits[:q], np.full(q, context.logit)]), axis=0)
            mixture, shares = pairs.T[:, :1] * maps[:q] + pairs.T[:, 1:] * maps[q:], pairs[0]
        return maps[:q] - mixture, shares

    def report(self, evidence: Sequence[Evidence], texts: int) -> None:
        """Report logits and gradients, those of the background last."""
        if len(evidence) > texts:
            probe("cam.background", evidence[-1].parts, edit=False)
        probe("cam.logits", np.concatenate([one.parts for one in evidence[:texts]]), edit=False)
        if evidence[0].gradient.size:
            probe("cam.gradients", np.stack([one.gradient for one in evidence]), edit=False)


def products(
    logits: Float[Tensor, " b"], leaf: Float[Tensor, "..."], cotangents: Float[Tensor, "v b"], keep: Reduce
) -> Float[Tensor, "v ..."]:
    """Return what `keep` leaves of vector-Jacobian products.

    Parameters
    ----------
    logits, leaf
        The logits of one image, and what they were computed from, such as the patch tokens.
    cotangents
        Weights of the logits; each row gives a product.
    keep
        From some products to what is kept of each.

    Examples
    --------
    >>> leaf = torch.ones(2, 3, requires_grad=True)
    >>> products(leaf.sum()[None], leaf, torch.tensor([[2.0]]), lambda each: each.mean(dim=1))
    tensor([[2., 2., 2.]])
    """
    count("vjp", len(cotangents))
    chunks = one_by_one if leaf.device.type == "cpu" else in_batches
    return torch.cat([keep(chunk) for chunk in chunks(logits, leaf, cotangents)])


def one_by_one(
    logits: Float[Tensor, " b"], leaf: Float[Tensor, "..."], cotangents: Float[Tensor, "v b"]
) -> Iterator[Float[Tensor, "1 ..."]]:
    """Yield the products in turn: faster on a CPU, and the memory of one product."""
    return (torch.autograd.grad(logits, leaf, row, retain_graph=True)[0][None] for row in cotangents)


def in_batches(
    logits: Float[Tensor, " b"], leaf: Float[Tensor, "..."], cotangents: Float[Tensor, "v b"]
) -> Iterator[Float[Tensor, "v ..."]]:
    """Yield products many at once, for a GPU."""
    tokens, width = leaf.shape[-2:]
    chunk = max(1, VJP_CHUNK_BYTES // (16 * 4 * tokens * max(tokens, width)))
    return (
        torch.autograd.grad(logits, leaf, rows, retain_graph=True, is_grads_batched=True)[0]
        for rows in cotangents.split(chunk)
    )
