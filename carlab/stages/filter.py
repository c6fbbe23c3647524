"""sigma, the query filter: who stays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from carlab.errors import SettingError
from carlab.probes import probe


@dataclass(frozen=True)
class Threshold:
    """Keep query k when P_t[k, k] > theta (paper, equation 3).

    Attributes
    ----------
    theta
        In [0, 1].
    keep_best
        True, as released: when none passes, the best one stays. False: the
        answer may be "nothing present".
    """

    theta: float = 0.6
    keep_best: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.theta <= 1:
            raise SettingError(
                f"expected a threshold (theta) in [0, 1], got {self.theta}; the paper uses 0.1 to 0.6"
            )

    def __call__(self, probs: Float32[np.ndarray, "q q"]) -> Bool[np.ndarray, " q"]:
        """True where the query stays."""
        scores = probe("filter.scores", np.diagonal(probs).copy())
        kept = scores > self.theta
        if self.keep_best and not kept.any():
            kept[np.argmax(scores)] = True
        return np.asarray(kept)
