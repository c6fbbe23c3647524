"""Scores over the steps, and where each query is dropped."""

from matplotlib.figure import Figure

from figures.scenes import trace


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    return {"scores": trace("astronaut").figure("scores")}
