"""The page that `carlab view` writes, opened from its file with the network off."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from skimage import data

from carlab.figures.page import write_page
from carlab.trace.show import shorten
from tests.hostile.strings import HOSTILE
from tests.traces import make_trace

LAPTOP = {"width": 1280, "height": 1000}
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def opened(new_page: Open, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Page]:
    folder = tmp_path_factory.mktemp("pages")

    def opener(trace: object, **options: object) -> Page:
        path: Path = write_page(trace, folder / "page.html")
        page = new_page(offline=True, viewport=LAPTOP, **options)
        page.goto(path.as_uri())
        return page

    return opener


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_keyboard_and_mouse_change_what_is_seen(opened: Open, shot: Callable[..., None], scheme: str) -> None:
    photo = data.astronaut()[::2, ::2]
    trace = make_trace(
        ["cat", "dog", "sofa", "lamp"], kept=((0, 1, 2), (0, 1), (0, 1)), image=photo, picture=96
    )
    page = opened(trace, color_scheme=scheme)
    expect(page.locator("#where")).to_have_text("step 1 of 3 · 4 active, 3 kept")
    shot(page, f"page-{scheme}")
    first = page.locator("#picture").get_attribute("src")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#where")).to_contain_text("step 2 of 3")
    expect(page.locator("#list .dropped")).to_have_count(2)
    expect(page.locator("#list")).to_contain_text("dropped at step 1, 0.180 below")
    assert page.locator("#picture").get_attribute("src") != first
    page.keyboard.press("1")
    expect(page.locator("#layers button[aria-pressed=true]")).to_have_text("CAM")
    page.locator("#scores g[data-query='3'] circle").first.click()
    expect(page.locator("#list button[aria-pressed=true]")).to_contain_text("lamp")
    page.locator("#list button[data-query='1']").click()
    expect(page.locator("#list button[aria-pressed=true]")).to_contain_text("dog")
    expect(page.locator("#matrix tr.on th[scope=row]")).to_have_text("dog")
    expect(page.locator("#picture")).to_have_attribute("alt", "CAM of dog, step 2")
    shot(page, f"page-{scheme}-selected")
    page.keyboard.press("Escape")
    expect(page.locator("#list button[aria-pressed=true]")).to_have_count(0)
    page.locator("#step").focus()
    page.keyboard.press("End")
    expect(page.locator("#where")).to_contain_text("step 3 of 3 · 2 active, 2 kept: fixed point")
    page.locator("#play").click()
    expect(page.locator("#where")).to_contain_text("step 1 of 3")
    page.locator("#play").click()


def test_eighty_queries_are_searched(opened: Open) -> None:
    trace = make_trace([f"thing {k}" for k in range(80)], kept=(tuple(range(40)), tuple(range(40))))
    page = opened(trace)
    expect(page.locator("#list li")).to_have_count(12)
    page.locator("#search").fill("thing 7")
    expect(page.locator("#list li")).to_have_count(11)
    page.locator("#list button[data-query='77']").click()
    expect(page.locator("#scores g[data-query='77']")).to_have_attribute("opacity", "1")


def test_nothing_present_and_one_query(opened: Open) -> None:
    expect(opened(make_trace(kept=((),))).locator("#title")).to_have_text("found: nothing")
    page = opened(make_trace(["cat"], kept=((0,),)))
    expect(page.locator("#matrix td")).to_have_count(1)


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 10))
def test_hostile_words_are_text(opened: Open, start: int) -> None:
    words = list(dict.fromkeys(HOSTILE[start : start + 10]))
    trace = make_trace(words, kept=(tuple(range(len(words))),))
    page = opened(trace)
    page.on("dialog", lambda dialog: pytest.fail(f"a word was run: {dialog.message}"))
    expect(page.locator("#list li")).to_have_count(len(words))
    shown = page.locator("#list button span[dir=auto]").all_text_contents()
    assert shown == [shorten(word, 60) for word in words]
    assert page.locator("img").count() == 1
