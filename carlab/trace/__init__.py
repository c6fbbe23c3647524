"""What a run leaves behind: Step and Trace, how they are shown, compared and saved. No torch."""

from carlab.trace.comparison import Comparison as Comparison
from carlab.trace.comparison import compare as compare
from carlab.trace.trace import Drop as Drop
from carlab.trace.trace import Step as Step
from carlab.trace.trace import Trace as Trace
