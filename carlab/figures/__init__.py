"""Figures drawn from a Trace alone: those for print; `screen` (plotly) and `page` (HTML) are modules."""

from carlab.figures.print import overlay_figure as overlay_figure
from carlab.figures.print import recurrence_figure as recurrence_figure
from carlab.figures.print import save_figure as save_figure
from carlab.figures.print import save_figures as save_figures
from carlab.figures.print import scores_figure as scores_figure
from carlab.figures.print_strips import compare_figure as compare_figure
from carlab.figures.print_strips import maps_figure as maps_figure
from carlab.figures.print_strips import matrix_figure as matrix_figure
from carlab.figures.print_strips import patches_figure as patches_figure
from carlab.figures.print_strips import prompted_figure as prompted_figure
from carlab.figures.print_strips import regions_figure as regions_figure
