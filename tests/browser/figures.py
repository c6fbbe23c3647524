"""plotly figures in a page: find one, click in it, and wait until it is another picture."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator

DRAWN = """[...figure.querySelectorAll(".main-svg > g:not(.hoverlayer, .draglayer)")]
    .map((layer) => layer.outerHTML).join()"""


def plot(part: Locator, number: int = 0) -> Locator:
    """One of the figures in a part of the page, hidden ones not counted."""
    return part.locator(".js-plotly-plot:visible").nth(number)


@contextmanager
def redraws(figure: Locator) -> Iterator[None]:
    """What is done inside makes the figure another picture (what hovers over it aside)."""
    before = figure.evaluate(f"figure => {DRAWN}")
    yield
    arguments = [figure.element_handle(), before]
    figure.page.wait_for_function(f"([figure, before]) => {DRAWN} !== before", arg=arguments)


def click(target: Locator, x: float = 0.5, y: float = 0.5) -> None:
    """A click of the mouse at a share of the target's width and height, whatever lies on top there."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None
    place = (box["x"] + x * box["width"], box["y"] + y * box["height"])
    # plotly clicks what it hovers over, and looks where that is 20 times a second.
    target.page.mouse.move(place[0] - 2, place[1] - 2)
    target.page.mouse.move(*place, steps=2)
    target.page.wait_for_timeout(200)
    target.page.mouse.click(*place)
