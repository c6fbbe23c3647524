"""Canvases and charts in a page: what is drawn in one, wait until it is another picture, and click in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator

DRAWN = "canvas => canvas.toDataURL()"
COLOURS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let at = 0; at < data.length; at += 4 * 97) seen.add(data.slice(at, at + 3).join());
    return seen.size;
}"""
SOME = 8
"""Colours that a canvas has at least when a photo is drawn in it."""


def picture(part: Locator) -> Locator:
    """The canvas of the image in a part of the page: the first; that of a Lab has another behind a tab."""
    return part.locator(".c-picture canvas").first


def is_drawn(canvas: Locator) -> None:
    """Wait until a photo is seen in a canvas."""
    element = canvas.element_handle()
    frame = element.owner_frame()  # a page in a page has one of its own
    assert frame is not None
    frame.wait_for_function(f"canvas => ({COLOURS})(canvas) >= {SOME}", arg=element)


@contextmanager
def redraws(canvas: Locator) -> Iterator[None]:
    """What is done inside makes the canvas another picture."""
    before = canvas.evaluate(DRAWN)
    yield
    arguments = [canvas.element_handle(), before]
    canvas.page.wait_for_function(f"([canvas, before]) => ({DRAWN})(canvas) !== before", arg=arguments)


def click(target: Locator, x: float = 0.5, y: float = 0.5) -> None:
    """A click of the mouse at a share of the target's width and height, whatever lies on top there."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None
    target.page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
