"""sigma, the query filter: which queries are kept."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from carlab.errors import check_share
from carlab.hooks import probe


@dataclass(frozen=True)
class Threshold:
    """Keep query k when P_t[k, k] > theta (paper, equation 3).

    Raises SettingError if theta is not in [0, 1].

    Parameters
    ----------
    theta
        In [0, 1].
    keep_best
        True, as released: when no query passes, the best one is kept. False: the result may be "nothing
        present".

    Examples
    --------
    >>> probs = np.array([[0.7, 0.3], [0.6, 0.4]], dtype=np.float32)
    >>> Threshold(0.5)(probs)
    array([ True, False])
    >>> Threshold(0.9, keep_best=False)(probs)
    array([False, False])
    """

    theta: float = 0.6
    keep_best: bool = True

    def __post_init__(self) -> None:
        check_share("a threshold (theta)", self.theta, "the paper uses 0.1 to 0.6")

    def __call__(self, probs: Float32[np.ndarray, "q q"]) -> Bool[np.ndarray, " q"]:
        """Return True where the query is kept."""
        scores = probe("filter.scores", np.diagonal(probs).copy())
        kept = scores > self.theta
        if self.keep_best and not kept.any():
            kept[np.argmax(scores)] = True
        return np.asarray(kept)
