"""The pages that `make docs` built, each opened from its file with the network off."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pixels import is_drawn, picture

WIDTHS = (1366, 390)
"""A laptop, a telephone."""
READ = ("docs/index", "docs/method", "docs/results", "docs/studies", "notebooks/01_first_masks")
"""Pages of which a screenshot is taken."""


@pytest.fixture(scope="module")
def built() -> Path:
    if "CARLAB_DOCS" not in os.environ:
        pytest.skip("make docs builds the pages, and runs this")
    return Path(os.environ["CARLAB_DOCS"]).resolve()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_opens(
    built: Path, new_page: Callable[..., Page], shot: Callable[..., None], width: int
) -> None:
    """Whatever fails to load, or complains, fails the module."""
    page = new_page(offline=True, viewport={"width": width, "height": 900})
    for path in sorted(built.rglob("*.html")):
        name = path.relative_to(built).with_suffix("").as_posix()
        if "_static" in path.parts or name == "index":  # it leads on to docs/index
            continue
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate("[...document.images].every(i => i.loading == 'lazy' || i.naturalWidth)"), name
        if name in READ:
            shot(page, f"docs-{name.replace('/', '-')}-{width}")


def test_words_are_found(built: Path, new_page: Callable[..., Page]) -> None:
    page = new_page(offline=True)
    page.goto(f"{(built / 'search.html').as_uri()}?q=theta")
    expect(page.locator("#search-results li").first).to_be_visible()


def test_widgets_are_live(built: Path, new_page: Callable[..., Page], shot: Callable[..., None]) -> None:
    page = new_page(offline=True)
    page.goto((built / "docs" / "widgets.html").as_uri())
    frame = page.locator("iframe").first
    frame.scroll_into_view_if_needed()
    is_drawn(picture(frame.content_frame.locator("body")))
    shot(page, "docs-widgets")
