"""Questions to a live Lab by mouse: words of a patch, drawn regions, dropped images, files to keep."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from skimage import data

from tests.browser.jupyter import Server, output, run_notebook
from tests.browser.pixels import is_drawn, picture, redraws

CELLS = [
    "from carlab.widgets import Lab\nlab = Lab('photos', ['coffee cup', 'cat', 'spoon'])\nlab",
    "lab.wait()",
]
SLOW = 60_000
"""Milliseconds for what needs the model."""
Shot = Callable[[Locator | Page, str], None]
DROP = """([part, bytes, name]) => {
    const data = new DataTransfer();
    const raw = Uint8Array.from(atob(bytes), letter => letter.charCodeAt(0));
    data.items.add(new File([raw], name, { type: "image/png" }));
    for (const kind of ["dragover", "drop"])
        part.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def page(server: Server, new_page: Callable[..., Page]) -> Page:
    (server.root / "photos").mkdir()
    for name in ("coffee", "chelsea"):
        Image.fromarray(getattr(data, name)()).save(server.root / "photos" / f"{name}.png")
    page = new_page(accept_downloads=True, permissions=["clipboard-read", "clipboard-write"])
    run_notebook(page, server.write("pointing.ipynb", CELLS), len(CELLS))
    return page


@pytest.fixture
def lab(page: Page) -> Locator:
    lab = output(page, 0)
    is_drawn(picture(lab))
    return lab


def at(lab: Locator, x: float, y: float) -> tuple[float, float]:
    """A place of the image, by shares of its size, in pixels of the page."""
    picture(lab).scroll_into_view_if_needed()
    box = picture(lab).bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_a_folder_is_a_strip_to_choose_from(lab: Locator, shot: Shot) -> None:
    expect(lab.locator(".c-film button")).to_have_count(2)
    expect(lab.locator(".carlab-said")).to_contain_text("cat", timeout=SLOW)
    with redraws(picture(lab)):
        lab.locator(".c-film button", has_text="coffee.png").click()
    expect(lab.locator(".carlab-said")).to_contain_text("coffee cup", timeout=SLOW)
    expect(lab.locator(".c-film [aria-selected=true]")).to_contain_text("coffee.png")
    shot(lab, "lab-film")


def test_words_of_a_patch(page: Page, lab: Locator, shot: Shot) -> None:
    lab.get_by_role("button", name="words", exact=True).click()

    def hover() -> str:
        page.mouse.move(*at(lab, 0.2, 0.2))
        page.mouse.move(*at(lab, 0.45, 0.5))
        return lab.locator(".c-tip").first.inner_text()

    page.wait_for_timeout(100)
    for _ in range(200):
        if "background" in hover():
            break
        page.wait_for_timeout(300)
    said = lab.locator(".c-tip").first.locator("div").all_inner_texts()
    assert len(said) == 8
    assert said[0].startswith("coffee cup")
    assert "background" in " ".join(said)
    shot(lab, "lab-words")


def test_a_region_is_scored(page: Page, lab: Locator, shot: Shot) -> None:
    for tool, path in (
        ("box", [(0.25, 0.2), (0.75, 0.85)]),
        ("scribble", [(0.3, 0.4), (0.5, 0.5), (0.6, 0.7)]),
    ):
        lab.get_by_role("button", name=tool, exact=True).click()
        page.mouse.move(*at(lab, *path[0]))
        page.mouse.down()
        for spot in path[1:]:
            page.mouse.move(*at(lab, *spot), steps=6)
        page.mouse.up()
        expect(lab.locator(".c-answer tr")).to_have_count(3, timeout=SLOW)
        if tool == "box":
            expect(lab.locator(".c-answer th").first).to_contain_text("coffee cup")
        shot(lab, f"lab-{tool}")
    lab.get_by_role("button", name="close").click()
    expect(lab.locator(".c-answer")).to_be_hidden()
    lab.get_by_role("button", name="select", exact=True).click()


def test_files_are_downloaded(page: Page, lab: Locator) -> None:
    for kind, form, start in (
        ("picture", None, b"\x89PNG"),
        ("strip", "pdf", b"%PDF"),
        ("page", None, b"<!doctype"),
    ):
        lab.get_by_label("what to download").select_option(kind)
        if form:
            lab.get_by_label("format").select_option(form)
        with page.expect_download(timeout=SLOW) as waiting:
            lab.get_by_role("button", name="download").click()
        with open(waiting.value.path(), "rb") as file:
            assert file.read(len(start)) == start


def test_code_is_copied(page: Page, lab: Locator) -> None:
    lab.get_by_role("button", name="copy code").click()
    expect(lab.get_by_role("button", name="copied")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("import carlab")
    assert "coffee.png" in copied


def test_an_image_is_dropped(page: Page, lab: Locator, shot: Shot) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(data.chelsea()[:, ::-1])).save(stream, "PNG")
    part = lab.locator(".c-picture").first.element_handle()
    with redraws(picture(lab)):
        page.evaluate(DROP, [part, base64.b64encode(stream.getvalue()).decode(), "<b>turned</b>.png"])
        expect(lab.locator(".c-film button")).to_have_count(3, timeout=SLOW)
    expect(lab.locator(".carlab-said")).to_contain_text("found: cat", timeout=SLOW)
    expect(lab.locator(".c-film [aria-selected=true]")).to_contain_text("<b>turned</b>.png")
    shot(lab, "lab-dropped")
