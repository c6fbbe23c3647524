"""`carlab lab` from the shell to the moving figure."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from skimage import data

from tests.browser.figures import plot, redraws
from tests.browser.jupyter import Server, free_port, output, run_notebook, run_server

QUERIES = ("coffee cup", "spoon", 'it\'s a "dog"')
SLOW = 30_000
"""Milliseconds for what needs the model."""
Shot = Callable[[Locator | Page, str], None]


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home, port = tmp_path_factory.mktemp("lab"), free_port()
    Image.fromarray(data.coffee()).save(home / "coffee & cup.png")
    command = [str(Path(sys.executable).with_name("carlab")), "lab", str(home / "coffee & cup.png")]
    command += [f"--query={query}" for query in QUERIES]
    command += ["--folder", str(home / "work"), "--port", str(port), "--no-browser", "--"]
    with run_server(command, home, home / "work", port) as server:
        yield server


@pytest.fixture(scope="module")
def page(lab_server: Server, new_page: Callable[..., Page]) -> Page:
    page = new_page()
    run_notebook(page, lab_server.open("coffee & cup.ipynb"), 1)
    expect(output(page, 0)).to_contain_text("fixed point", timeout=SLOW)
    return page


@pytest.fixture
def lab(page: Page) -> Locator:
    return output(page, 0)


def told(lab: Locator) -> Locator:
    """The line that says how the latest run ended."""
    return lab.locator("[role=status]")


def test_the_answer_is_there(lab: Locator, shot: Shot) -> None:
    expect(told(lab)).to_contain_text("found: coffee cup")
    expect(plot(lab).locator("image").first).to_be_visible()
    shot(lab, "lab")


def test_a_threshold_moves_by_keyboard(lab: Locator, shot: Shot) -> None:
    handle = lab.locator(".widget-hslider", has_text="theta").locator(".noUi-handle")
    handle.focus()
    for key, found in (("End", "found: nothing"), ("Home", "found: coffee cup, spoon")):
        with redraws(plot(lab, 1)):
            handle.press(key)
        expect(told(lab)).to_contain_text(found)
    shot(lab, "lab-theta")


def test_other_words(lab: Locator) -> None:
    words = lab.locator("textarea").first
    with redraws(plot(lab)):
        words.fill("espresso\nlaptop")
        words.blur()
        expect(told(lab)).to_contain_text(re.compile("found: espresso"), timeout=SLOW)


def test_what_is_wrong_is_said_in_place(lab: Locator) -> None:
    words = lab.locator("textarea").first
    words.fill("cat\nCat")
    words.blur()
    expect(told(lab)).to_contain_text("expected different queries", timeout=SLOW)


def test_a_run_can_be_pinned_and_gone_back_to(lab: Locator, shot: Shot) -> None:
    lab.get_by_role("button", name="pin").click()
    history = lab.locator("select").filter(has_text="1. offline")
    history.select_option(index=0)
    expect(told(lab)).to_contain_text("found: coffee cup")
    expect(lab).to_contain_text("pixels with the same query")
    shot(lab, "lab-compare")
