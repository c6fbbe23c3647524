"""`carlab lab` from the shell to the moving figure."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from skimage import data

from tests.browser.jupyter import Server, free_port, output, run_notebook, run_server
from tests.browser.pixels import is_drawn, picture, redraws

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
def received() -> list[int]:
    """Bytes of each message that the page received of kernels."""
    return []


@pytest.fixture(scope="module")
def page(lab_server: Server, new_page: Callable[..., Page], received: list[int]) -> Page:
    page = new_page()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    run_notebook(page, lab_server.open("coffee & cup.ipynb"), 1)
    expect(output(page, 0)).to_contain_text("fixed point", timeout=SLOW)
    return page


@pytest.fixture
def lab(page: Page) -> Locator:
    return output(page, 0)


def told(lab: Locator) -> Locator:
    """The line that says how the latest run ended."""
    return lab.locator(".carlab-said")


def test_the_answer_is_there(lab: Locator, received: list[int], shot: Shot) -> None:
    expect(told(lab)).to_contain_text("found: coffee cup")
    is_drawn(picture(lab))
    assert 100_000 < sum(received) < 6_000_000
    shot(lab, "lab")


def test_a_threshold_moves_by_keyboard(lab: Locator, shot: Shot) -> None:
    handle = lab.locator(".widget-hslider", has_text="theta").locator(".noUi-handle")
    handle.focus()
    for key, found in (("End", "found: nothing"), ("Home", "found: coffee cup, spoon")):
        handle.press(key)
        expect(told(lab)).to_contain_text(found)
    shot(lab, "lab-theta")


def test_words_are_added_with_enter_and_deleted_by_their_cross(lab: Locator) -> None:
    entry = lab.get_by_placeholder("add a query, Enter")
    entry.fill("espresso, laptop")
    expect(lab.locator(".c-hint")).to_have_text("Enter adds 2 queries")
    entry.press("Enter")
    expect(lab.locator(".c-query bdi")).to_have_text([*QUERIES, "espresso", "laptop"], timeout=SLOW)
    look = lab.locator(".c-query .c-swatch").nth(3).get_attribute("style")
    lab.get_by_role("button", name="delete spoon").click()
    expect(lab.locator(".c-query bdi")).to_have_text(
        [QUERIES[0], QUERIES[2], "espresso", "laptop"], timeout=SLOW
    )
    assert lab.locator(".c-query .c-swatch").nth(2).get_attribute("style") == look
    expect(lab.locator(".c-query").nth(2)).to_contain_text("4. espresso")


def test_what_is_wrong_is_said_in_place(lab: Locator) -> None:
    entry = lab.get_by_placeholder("add a query, Enter")
    entry.fill("Laptop")
    entry.press("Enter")
    expect(told(lab)).to_contain_text("expected different queries", timeout=SLOW)
    expect(told(lab)).to_contain_text("still shown")


def test_a_run_can_be_pinned_and_gone_back_to(lab: Locator, shot: Shot) -> None:
    lab.get_by_role("button", name="pin").click()
    history = lab.locator("select").filter(has_text="1. offline")
    history.select_option(index=0)
    expect(told(lab)).to_contain_text("found: coffee cup")
    with redraws(picture(lab)):
        lab.get_by_role("button", name="blink", exact=True).click()
    lab.get_by_role("tab", name="compare").click()
    expect(lab).to_contain_text("have the same query in pinned and now")
    shot(lab, "lab-compare")
