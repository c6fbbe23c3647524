"""Figures drawn from a Trace alone: those for print; `screen` (plotly) and `page` (HTML) are modules."""

from carlab.figures.charts import ablation_plot, class_bars, score_curves
from carlab.figures.framework import pipeline
from carlab.figures.paper import postprocessor_grid, prompt_gallery, qualitative_grid, recurrence_strip
from carlab.figures.print import (
    figure_bytes,
    overlay_figure,
    recurrence_figure,
    save_figure,
    save_figures,
    scores_figure,
)
from carlab.figures.print_strips import (
    compare_figure,
    maps_figure,
    matrix_figure,
    patches_figure,
    prompted_figure,
    regions_figure,
)
from carlab.figures.print_style import STYLES, Style
from carlab.figures.video import time_curves, video_strip

# Without this list `import *` would replace Python's print by the module of that name.
__all__ = [
    "STYLES",
    "Style",
    "ablation_plot",
    "class_bars",
    "compare_figure",
    "figure_bytes",
    "maps_figure",
    "matrix_figure",
    "overlay_figure",
    "patches_figure",
    "pipeline",
    "postprocessor_grid",
    "prompt_gallery",
    "prompted_figure",
    "qualitative_grid",
    "recurrence_figure",
    "recurrence_strip",
    "regions_figure",
    "save_figure",
    "save_figures",
    "score_curves",
    "scores_figure",
    "time_curves",
    "video_strip",
]  # fmt: skip
