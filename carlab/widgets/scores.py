"""The scores of each query over the steps, and those of every pair in one step."""

import traitlets

from carlab.widgets.front import FrontView


class ScorePlot(FrontView):
    """Plot the score of each query over the steps, the threshold, and where each query was dropped.

    A click on a line selects its query. The dotted line marks the `step`; queries that are not among the
    `top` are drawn faintly.

    Examples
    --------
    >>> plot = ScorePlot(trace, top=2)
    >>> [query["telling"] for query in plot.front.content["queries"]]
    [True, True, False]
    """

    parts = traitlets.Tuple(default_value=("scores",))


class ScoreMatrix(FrontView):
    """Show the scores of a step as a table: a row a prompted image, a column a query.

    A click on a row selects its query.

    Examples
    --------
    >>> view = ScoreMatrix(trace)
    >>> view.step = 1
    >>> view.front.content["steps"][1]["pairs"]["queries"]
    [0, 1]
    """

    parts = traitlets.Tuple(default_value=("matrix",))
