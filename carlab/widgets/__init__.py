"""Interactive views of a Trace, for Jupyter: state in traits, data from the Trace, no torch but in the Lab."""

from carlab.widgets.base import TraceWidget, linked
from carlab.widgets.compare import Compare
from carlab.widgets.inspector import ProbeInspector
from carlab.widgets.lab import Lab
from carlab.widgets.matrix import ScoreMatrix
from carlab.widgets.player import RecurrencePlayer
from carlab.widgets.scores import ScorePlot

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
