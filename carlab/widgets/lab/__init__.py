"""The live Lab: controls, the thread that runs the model, and the widget that joins them to the views."""

from carlab.widgets.lab.lab import Lab as Lab
from carlab.widgets.lab.state import LabState as LabState
