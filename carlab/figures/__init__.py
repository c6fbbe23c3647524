"""Figures drawn from a Trace alone: those for print; `screen` (plotly) and `page` (HTML) are modules."""

from carlab.figures.print import overlay_figure, recurrence_figure, save_figure, save_figures, scores_figure
from carlab.figures.print_strips import (
    compare_figure,
    maps_figure,
    matrix_figure,
    patches_figure,
    prompted_figure,
    regions_figure,
)

# Without this list `import *` would replace Python's print by the module of that name.
__all__ = [
    "compare_figure", "maps_figure", "matrix_figure", "overlay_figure", "patches_figure", "prompted_figure",
    "recurrence_figure", "regions_figure", "save_figure", "save_figures", "scores_figure",
]  # fmt: skip
