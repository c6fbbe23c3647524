"""Figures drawn from a Trace: pure functions, matplotlib for print."""

from carlab.figures.printing import overlay_figure, recurrence_figure, save_figure, scores_figure

__all__ = ["overlay_figure", "recurrence_figure", "save_figure", "scores_figure"]
