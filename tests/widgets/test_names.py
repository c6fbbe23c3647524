"""Names of the widgets' methods: none replaces a method of ipywidgets or traitlets.

Only a running kernel calls most of those, so that a collision shows nowhere else.
"""

import inspect

import pytest

from carlab import widgets
from carlab.widgets.chart import Chart
from carlab.widgets.front import Front, FrontView
from carlab.widgets.lab.controls import Controls

OWN = [getattr(widgets, name) for name in vars(widgets) if inspect.isclass(getattr(widgets, name))]


@pytest.mark.parametrize(
    "widget", [*OWN, Chart, Front, FrontView, Controls], ids=lambda widget: widget.__name__
)
def test_no_method_replaces_one_of_ipywidgets(widget: type) -> None:
    ours = [one for one in widget.__mro__ if one.__module__.startswith("carlab.")]
    theirs = {name for one in widget.__mro__ if one not in ours for name in vars(one)}
    functions = {name for one in ours for name, value in vars(one).items() if inspect.isfunction(value)}
    assert {"Lab", "Explorer", "VideoPlayer"} <= {one.__name__ for one in OWN}
    extended = {"_repr_mimebundle_"}  # calls the original
    assert {name for name in functions & theirs if not name.startswith("__")} <= extended
