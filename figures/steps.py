"""The recurrence, step by step."""

from matplotlib.figure import Figure

from figures.scenes import trace


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    return {"steps": trace("astronaut").figure("strip")}
