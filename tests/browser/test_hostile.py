"""Queries that are markup, scripts or TeX, in every widget at once: shown as text, and none of them runs."""

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.jupyter import Server, output, run_notebook
from tests.hostile.strings import CONTROL, HOSTILE
from tests.traces import GRID, make_trace

ATTACKS = (
    "<img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1>",
    "</textarea><script>window.pwned=1</script>",
    "<a href='javascript:window.pwned=1'>cat</a>",
)
CELLS = [
    "from carlab import Trace\n"
    "from carlab.widgets import *\n"
    "from skimage import data\n"
    "a, b = Trace.load('hostile.safetensors'), Trace.load('control.safetensors')",
    "linked(RecurrencePlayer(a), ScorePlot(a, top=60), ScoreMatrix(a), ProbeInspector(a))",
    "linked(RecurrencePlayer(b), ScorePlot(b), ScoreMatrix(b), ProbeInspector(b))",
    "Compare(a, a, names=('<b>a</b>', '$b$'))",
    "Lab(data.chelsea(), [text for text in a.queries if len(text) < 1000])",
    "a",
]
VIEWS, CONTROLS, COMPARE, LAB, TRACE = range(1, 6)


@pytest.fixture(scope="module")
def dialogs() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(server: Server, new_page: Callable[..., Page], dialogs: list[str]) -> Page:
    for name, words in (("hostile", (*ATTACKS, *HOSTILE)), ("control", CONTROL)):
        maps = {"cam.raw": np.zeros((len(words), *GRID))}
        kept = (range(0, len(words), 2), (0, 2))
        make_trace(words, kept=kept, probes=maps).save(server.root / f"{name}.safetensors")
    page = new_page()
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    run_notebook(page, server.write("hostile.ipynb", CELLS), len(CELLS))
    expect(output(page, LAB).locator(".carlab-said")).to_contain_text("found", timeout=60_000)
    return page


def test_nothing_runs(page: Page, dialogs: list[str]) -> None:
    page.wait_for_timeout(500)  # an image that fails to load does so later
    assert page.evaluate("window.pwned") is None
    assert dialogs == []
    outputs = page.locator(".jp-Cell-outputArea")
    for planted in (
        "img[src=x]",
        "[onerror]",
        "[onload]",
        "script",
        "a[href^=javascript]",
        "mjx-container",
        ".MathJax",
    ):
        assert outputs.locator(planted).count() == 0, planted


@pytest.mark.parametrize("text", ["<svg onload=window.pwned=1>", "$x^2$", "{}", "猫と犬", "--help"])
def test_found_as_text(page: Page, text: str) -> None:
    dashboard = output(page, VIEWS)
    dashboard.locator("input[type=search]").first.fill(text)
    expect(dashboard.locator(".c-query bdi").get_by_text(text, exact=True)).to_have_count(1)


def test_shown_as_text(page: Page) -> None:
    titles = output(page, VIEWS).locator(".c-scores title").all_text_contents()
    names = {title.split(". ", 1)[1].rsplit(": ", 1)[0] for title in titles}
    assert {"<script>alert(1)</script>", "' OR 1=1 --", "{}"} <= names
    assert output(page, LAB).get_by_placeholder("one query a line").input_value().splitlines() == [
        text for text in (*ATTACKS, *HOSTILE) if len(text) < 1000
    ]
    expect(output(page, TRACE)).to_contain_text("<script>alert(1)</script>")


def test_it_is_looked_at(page: Page, shot: Callable[..., None]) -> None:
    for cell, name in ((VIEWS, "views"), (CONTROLS, "control"), (COMPARE, "compare"), (LAB, "lab")):
        shot(output(page, cell), f"hostile-{name}")
