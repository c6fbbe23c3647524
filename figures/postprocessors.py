"""Figures D and E: soft masks, their cut, and the post-processors. No SAM: superpixels need no weights."""

from matplotlib.figure import Figure

from carlab.figures import postprocessor_grid
from figures.scenes import NAMES, trace


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    methods = {
        "CRF": [trace(name) for name in NAMES],
        "superpixels": [trace(name, regions="superpixels") for name in NAMES],
    }
    return {"postprocessors": postprocessor_grid(methods)}
