"""Interactive views of a Trace, for Jupyter; only the Lab, when it runs a model, needs torch."""

from carlab.widgets.base import TraceWidget as TraceWidget
from carlab.widgets.base import linked as linked
from carlab.widgets.compare import Compare as Compare
from carlab.widgets.explorer import Explorer as Explorer
from carlab.widgets.inspector import ProbeInspector as ProbeInspector
from carlab.widgets.lab import Lab as Lab
from carlab.widgets.player import RecurrencePlayer as RecurrencePlayer
from carlab.widgets.scores import ScoreMatrix as ScoreMatrix
from carlab.widgets.scores import ScorePlot as ScorePlot
from carlab.widgets.studies import StudyView as StudyView
from carlab.widgets.video import VideoPlayer as VideoPlayer
