"""The recurrence, step by step: the image with the mask of each query, and which were dropped."""

import traitlets

from carlab.figures.layers import LAYERS, SCREEN_LAYERS
from carlab.widgets.front import FrontView


class RecurrencePlayer(FrontView):
    """Play the steps of a trace: a layer painted over the image, and the score of each query.

    If a `query` is selected only that one is painted, otherwise those that are kept; the list has a search.
    Traits, beside those of `FrontView`: `layer`, one of `carlab.figures.layers.SCREEN_LAYERS`, and
    `opacity` of the paint, in [0, 1].

    Examples
    --------
    >>> player = RecurrencePlayer(trace, layer="CAM")
    >>> player.step = 2
    >>> player.front.layer, player.front.step
    ('CAM', 2)
    """

    parts = traitlets.Tuple(default_value=("tools", "picture", "strip", "list"))
    layer = traitlets.Enum(SCREEN_LAYERS, default_value=LAYERS[1])
    opacity = traitlets.Float(0.6, min=0, max=1)
    linked = (*FrontView.linked, "layer", "opacity")
