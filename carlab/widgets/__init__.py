"""Interactive views of a Trace, for Jupyter; only the Lab, when it runs a model, needs torch."""

from carlab.widgets.base import TraceWidget, linked
from carlab.widgets.compare import Compare
from carlab.widgets.inspector import ProbeInspector
from carlab.widgets.lab import Lab
from carlab.widgets.player import RecurrencePlayer
from carlab.widgets.scores import ScoreMatrix, ScorePlot

__all__ = [
    "Compare",
    "Lab",
    "ProbeInspector",
    "RecurrencePlayer",
    "ScoreMatrix",
    "ScorePlot",
    "TraceWidget",
    "linked",
]
