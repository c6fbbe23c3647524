"""Figure 3: one mask by every visual prompt."""

from matplotlib.figure import Figure

from figures.scenes import trace


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    return {"prompts": trace("astronaut").figure("prompts", query="space shuttle")}
