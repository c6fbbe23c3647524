"""Attention rollout: which patches the whole tower attends to. It knows no text, and is a weak baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float64

from carlab.backbones.base import AttentionVlm, Trunk
from carlab.hooks import timed
from carlab.stages.proposer.base import Evidence, Proposer, together


@dataclass(frozen=True)
class Rollout(Proposer):
    """Attention rollout: the product over all blocks of (attention + identity) / 2, the mean over heads.

    The map is the row of the class token, or the mean over all patches where there is none. It is the same
    for every query: what tells queries apart is then the classifier alone. One more pass through the trunk,
    and every subset of the queries is free.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, equation 1.

    Parameters
    ----------
    backbone
        A vision transformer. Of the other fields, those of every `Proposer`, `compete` and
        `background_weight` have no effect.

    Examples
    --------
    >>> rollout = change(model, proposer="rollout", affinity=False).proposer
    >>> cams = rollout(rollout.prepare(Photo.of(image), ("cat", "dog"), ()), np.array([0, 1]), t=0).cams
    >>> bool((cams[0] == cams[1]).all())
    True
    """

    NEEDS: ClassVar[Any] = AttentionVlm
    ALONE: ClassVar[bool] = True

    @torch.no_grad()
    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        """Return the same map for every text."""
        blocks = self.backbone.blocks(trunk, None)  # type: ignore[attr-defined]
        n = len(trunk.activations)
        with timed("rollout"):
            flow: Any = None
            for block in blocks:
                mean = block.weights().mean(0)
                step = (mean + torch.eye(len(mean), device=mean.device)) / 2
                flow = step if flow is None else step @ flow
            row = flow[0, -n:] if len(flow) > n else flow.mean(0)
            return [Evidence(0.0, each) for each in [together(row)[0]] * len(texts)]

    def closed_form(self, own: Sequence[Evidence], context: Evidence | None) -> Float64[np.ndarray, "q n"]:
        """Return the maps as they are.

        Parameters
        ----------
        own, context
            Of the active queries, and of the background, which has no effect.
        """
        return np.array([one.map for one in own], dtype=np.float64)
