"""The page that `carlab report --page` writes, opened from its file with the network off."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from skimage import data

from carlab.evaluate.page import write_report
from carlab.evaluate.summary import Summary
from carlab.recurrence import ClipAsRnn
from tests.browser.pixels import is_drawn, picture, redraws
from tests.hostile.strings import HOSTILE
from tests.runs import make_dataset, make_run
from tests.traces import make_trace

CLASSES = ("cat", "dog", "sofa", *HOSTILE[:6])


@pytest.fixture(scope="module")
def report(tiny: ClipAsRnn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs over one image: the first found the cat, the second the cat and the dog."""
    folder, photo = tmp_path_factory.mktemp("report"), data.astronaut()[::2, ::2]
    traces = [make_trace(CLASSES, kept=[kept, kept], image=photo) for kept in ((0,), (0, 1))]
    dataset = make_dataset({HOSTILE[0]: traces[1].labels}, classes=CLASSES)
    folders = [
        make_run(folder / str(k), tiny, dataset, {HOSTILE[0]: [trace]}, theta=0.3 - k / 10)
        for k, trace in enumerate(traces)
    ]
    return write_report(folders, [Summary.of(run, run.ids) for run in folders], folder / "page.html")


def names(table: Locator) -> list[str]:
    return [text.strip() for text in table.locator("tbody th").all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_and_sorts(
    report: Path, new_page: Callable[..., Page], shot: Callable[..., None], scheme: str
) -> None:
    page = new_page(offline=True, color_scheme=scheme)
    page.goto(report.as_uri())
    table = page.locator("#classes table")
    usual = ["background", *CLASSES]
    assert names(table) == usual
    table.get_by_role("button", name="class").click()
    expect(table.locator("th[aria-sort=ascending]")).to_have_text("class")
    # Hostile names have a place among the others, whatever the language; the usual ones are in order.
    assert [name for name in names(table) if name in usual[:4]] == sorted(usual[:4])
    difference = table.locator("thead th").last.get_by_role("button")
    difference.click()
    assert names(table)[0] == "dog"
    assert [text for text in table.locator("tbody td:last-child").all_inner_texts() if text == "–"]
    difference.press("Enter")
    expect(table.locator("th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    met = len(table.locator("tbody td:last-child[data-sort]").all())
    assert names(table)[met - 1] == "dog"
    assert table.locator("tbody tr").nth(met).locator("td[data-sort]").count() == 0  # not met: last
    shot(page, f"report-{scheme}")


def test_nothing_is_wider_than_a_laptop(report: Path, new_page: Callable[..., Page]) -> None:
    page = new_page(offline=True, viewport={"width": 1024, "height": 700})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 1024
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def test_traces_are_drawn_where_they_are_scrolled_to(
    report: Path, new_page: Callable[..., Page], shot: Callable[..., None]
) -> None:
    page = new_page(offline=True, viewport={"width": 1366, "height": 500})
    page.goto(report.as_uri())
    expect(page.locator("figure.trace")).to_have_count(2)
    assert page.locator("figure.trace .carlab").count() == 0
    second = page.locator("figure.trace").nth(1)
    second.scroll_into_view_if_needed()
    is_drawn(picture(second))
    expect(second.locator(".c-true bdi")).to_have_text(["cat", "dog"])
    with redraws(picture(second)):
        second.get_by_role("button", name="final", exact=True).click()
    shot(second, "report-trace")
