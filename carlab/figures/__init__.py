"""Figures drawn from a Trace: pure functions, matplotlib for print."""

from carlab.figures.printing import (
    overlay_figure,
    recurrence_figure,
    save_figure,
    save_figures,
    scores_figure,
)
from carlab.figures.strips import (
    compare_figure,
    maps_figure,
    matrix_figure,
    patches_figure,
    prompted_figure,
    regions_figure,
)

__all__ = [
    "compare_figure",
    "maps_figure",
    "matrix_figure",
    "overlay_figure",
    "patches_figure",
    "prompted_figure",
    "recurrence_figure",
    "regions_figure",
    "save_figure",
    "save_figures",
    "scores_figure",
]
