"""What a run leaves behind: Step and Trace, how they are shown, compared and saved. No torch."""

from carlab.trace.compare import Comparison, compare
from carlab.trace.trace import Drop, Step, Trace

__all__ = ["Comparison", "Drop", "Step", "Trace", "compare"]
