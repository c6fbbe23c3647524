"""The page that `carlab view` writes, opened from its file with the network off."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from skimage import data

from carlab.figures.page import write_page
from carlab.trace.show import shorten
from tests.browser.pixels import click, is_drawn, picture, redraws
from tests.hostile.strings import HOSTILE
from tests.traces import make_trace

LAPTOP = {"width": 1280, "height": 1000}
Open = Callable[..., Page]
CONTRAST = """() => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const pixel = (...layers) => {
        context.clearRect(0, 0, 1, 1);
        for (const colour of layers) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, k) => sum + part * [0.2126, 0.7152, 0.0722][k], 0);
    const low = [];
    for (const one of document.querySelectorAll(".carlab *")) {
        const own = [...one.childNodes].some(child => child.nodeType === 3 && child.data.trim());
        if (!own || !one.getClientRects().length) continue;
        const layers = [];
        for (let up = one; up; up = up.parentElement) layers.unshift(getComputedStyle(up).backgroundColor);
        const style = getComputedStyle(one), text = one instanceof SVGElement ? style.fill : style.color;
        const both = [light(pixel("#fff", ...layers, text)), light(pixel("#fff", ...layers))];
        const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        if (ratio < 4.5) low.push(`${one.textContent}: ${ratio}`);
    }
    return low;
}"""
"""Texts whose contrast is below that of WCAG 2.2, level AA."""


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
    canvas, where = picture(page.locator("#view")), page.locator(".c-where")
    expect(where).to_have_text("step 1 of 3 · 4 active, 3 kept")
    is_drawn(canvas)
    assert page.evaluate(CONTRAST) == []
    shot(page, f"page-{scheme}")
    with redraws(canvas):
        page.keyboard.press("ArrowRight")
    expect(where).to_contain_text("step 2 of 3")
    expect(page.locator(".c-query.c-dropped")).to_have_count(2)
    expect(page.locator(".c-list")).to_contain_text("dropped at step 1, 0.180 below 0.300")
    for layer in ("contours", "prompted image", "final", "CAM"):
        with redraws(canvas):
            page.get_by_role("button", name=layer, exact=True).click()
    with redraws(canvas):
        page.keyboard.press("4")
    expect(page.locator(".c-query[aria-pressed=true]")).to_contain_text("4. lamp")
    expect(page.locator(".c-note")).to_have_text(
        "lamp was dropped at step 1, 0.180 below 0.300: this is step 1"
    )
    page.locator(".c-query[data-query='1']").click()
    expect(page.locator(".c-matrix tr.c-on th[scope=row]")).to_have_text("2. dog")
    expect(canvas).to_have_attribute("aria-label", "CAM of dog, step 2")
    shot(page, f"page-{scheme}-selected")
    page.keyboard.press("Escape")
    expect(page.locator(".c-query[aria-pressed=true]")).to_have_count(0)
    with redraws(canvas):
        page.locator(".c-strip [data-step='2']").click()
    expect(where).to_contain_text("step 3 of 3 · 2 active, 2 kept: fixed point")
    page.locator(".c-scores [data-query='3'] .c-cross").click()
    expect(page.locator(".c-query[aria-pressed=true]")).to_contain_text("4. lamp")


def test_pointing_at_the_photo(opened: Open) -> None:
    trace = make_trace(["cat", "dog", "sofa"], image=data.astronaut()[::2, ::2])
    page = opened(trace)
    canvas = picture(page.locator("#view"))
    is_drawn(canvas)
    canvas.hover(position={"x": canvas.bounding_box()["width"] / 2, "y": 100})
    expect(page.locator(".c-tip")).to_contain_text("score 0.")
    click(canvas, 0.5, 0.5)  # where the mask of the second is highest
    expect(page.locator(".c-query[aria-pressed=true]")).to_contain_text("2. dog")
    with redraws(canvas):
        page.keyboard.press("+")
    with redraws(canvas):
        page.keyboard.press("0")


def test_eighty_queries_are_searched(opened: Open) -> None:
    trace = make_trace([f"thing {k}" for k in range(80)], kept=(tuple(range(40)), tuple(range(40))))
    page = opened(trace)
    expect(page.locator(".c-list li")).to_have_count(12)
    expect(page.locator(".c-queries")).to_contain_text("68 more")
    page.locator(".c-queries input[type=search]").fill("thing 7")
    expect(page.locator(".c-list li")).to_have_count(11)
    page.locator(".c-query[data-query='77']").click()
    expect(page.locator(".c-scores [data-query='77']")).to_have_attribute("opacity", "1")


def test_nothing_present_and_one_query(opened: Open) -> None:
    expect(opened(make_trace(kept=((),))).locator("#title")).to_have_text("found: nothing")
    page = opened(make_trace(["cat"], kept=((0,),)))
    expect(page.locator(".c-matrix td.c-num")).to_have_count(1)


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 10))
def test_hostile_words_are_text(opened: Open, start: int) -> None:
    words = list(dict.fromkeys(HOSTILE[start : start + 10]))
    trace = make_trace(words, kept=(tuple(range(len(words))),))
    page = opened(trace)
    page.on("dialog", lambda dialog: pytest.fail(f"a word was run: {dialog.message}"))
    expect(page.locator(".c-list li")).to_have_count(len(words))
    shown = page.locator(".c-query bdi").all_text_contents()
    assert shown == [shorten(word, 60) for word in words]
    assert page.locator("img").count() == 0
