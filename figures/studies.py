"""What the result on one image hangs on: its words, its thresholds, and the fate of one query."""

from dataclasses import replace

from matplotlib.figure import Figure

from carlab.cli.demo import QUERIES
from carlab.studies import counterfactual, leave_one_out, phase_diagram
from figures.scenes import model, photo

IMAGE = photo("astronaut")
WORDS = QUERIES["astronaut"][1]
ETAS = (0.25, 0.35, 0.45, 0.55, 0.65)
FEW = ("wall", "cloud", "sky", "rock", "building")
"""Background queries, few enough for a page."""


def draw() -> dict[str, Figure]:
    """Return the figures by the names of their files."""
    held = counterfactual(model(), IMAGE, WORDS, "bicycle", 1, stays=True, hold=True)
    return {
        "leave_one_out": leave_one_out(replace(model(), background=FEW), IMAGE, WORDS).figure(),
        "phases_theta": phase_diagram(model(), IMAGE, WORDS).figure(),
        "phases_plane": phase_diagram(model(), IMAGE, WORDS, etas=ETAS).figure(),
        "counterfactual": held.figure(),
    }
