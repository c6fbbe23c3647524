"""Figures D and E: soft masks, their cut, and the post-processors. No SAM: superpixels need no weights."""

from matplotlib.figure import Figure

from carlab.figures import postprocessor_grid
from figures.scenes import trace

SOME = ("chelsea", "coffee", "astronaut")


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    methods = {
        "CRF": [trace(name) for name in SOME],
        "superpixels": [trace(name, regions="superpixels") for name in SOME],
    }
    return {"postprocessors": postprocessor_grid(methods)}
