"""Figure 2: the framework, with the intermediate pictures of a run in its boxes."""

from matplotlib.figure import Figure

from figures.scenes import trace


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    return {"framework": trace("astronaut").figure("pipeline")}
