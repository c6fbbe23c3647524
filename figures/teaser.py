"""Figure 1: images, and what is found in them by queries of which some are present and some are not."""

from matplotlib.figure import Figure

from carlab.figures import qualitative_grid
from figures.scenes import NAMES, trace


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    methods = {
        "one step": [trace(name, max_steps=1, theta=0.0) for name in NAMES],
        "recurrence": [trace(name) for name in NAMES],
    }
    return {"teaser": qualitative_grid(methods)}
