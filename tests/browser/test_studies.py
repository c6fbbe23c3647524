"""Views of many traces in JupyterLab: an evaluation run, a study, a video, expressions."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect
from skimage import data

from carlab.recurrence import ClipAsRnn
from tests.browser.jupyter import Server, output, run_notebook
from tests.browser.pixels import click, is_drawn, picture, redraws
from tests.runs import make_dataset, make_run
from tests.traces import make_trace
from tests.video.test_shown import KEPT, film

CELLS = [
    "from dataclasses import replace\n"
    "import carlab\n"
    "from skimage import data\n"
    "from carlab.studies import counterfactual, leave_one_out, phase_diagram\n"
    "from carlab.widgets import Explorer, RecurrencePlayer, StudyView, VideoPlayer\n"
    "model = replace(carlab.load('offline'), background=('wall', 'sky'))\n"
    "photo, words = carlab.Photo.of(data.astronaut()[::2, ::2]), ['space shuttle', 'flag', 'bicycle']",
    "Explorer('run')",
    "Explorer('run', 'other')",
    "StudyView(leave_one_out(model, photo, words))",
    "StudyView(phase_diagram(model, photo, words))",
    "StudyView(counterfactual(model, photo, words, 'flag', 0, stays=False))",
    "VideoPlayer('traces.zip')",
    "RecurrencePlayer(carlab.refer(photo, ['the space shuttle', 'a flag']))",
]
RUN, RUNS, REMOVAL, PHASES, FORCED, VIDEO, EXPRESSIONS = range(1, 8)
FOUND = {"a cat": (0,), "a cat and a dog": (0, 1), "a dog": (1,)}
"""Queries that are kept, by image of the run."""
Shot = Callable[[Locator | Page, str], None]


@pytest.fixture(scope="module")
def page(server: Server, new_page: Callable[..., Page], tiny: ClipAsRnn) -> Page:
    """A notebook that has run, with every view in a cell of its own."""
    image = data.astronaut()[::2, ::2]
    whole = {name: make_trace(kept=((0, 1), kept), image=image) for name, kept in FOUND.items()}
    dataset = make_dataset(dict.fromkeys(FOUND, whole["a cat and a dog"].labels))
    make_run(server.root / "run", tiny, dataset, {name: [trace] for name, trace in whole.items()})
    other = {name: [make_trace(kept=((0, 1), (0,)), image=image, theta=0.5)] for name in FOUND}
    make_run(server.root / "other", tiny, dataset, other, theta=0.5)
    film(server.root)
    page = new_page(viewport={"width": 1600, "height": 1600})
    run_notebook(page, server.write("studies.ipynb", CELLS), len(CELLS))
    return page


def listed(explorer: Locator) -> list[str]:
    return explorer.locator("tbody tr td:first-child").all_inner_texts()


def test_an_image_of_a_run_is_opened_by_a_click(page: Page, shot: Shot) -> None:
    explorer = output(page, RUN)
    assert sorted(listed(explorer)) == sorted(FOUND)
    explorer.locator("tbody tr", has_text="a cat and a dog").click()
    is_drawn(picture(explorer))
    shot(explorer, "explorer")
    explorer.get_by_text("a true class was dropped").click()
    expect(explorer.locator("tbody tr")).to_have_count(2)
    assert "a cat and a dog" not in listed(explorer)


def test_two_runs_are_compared(page: Page, shot: Shot) -> None:
    explorer = output(page, RUNS)
    explorer.locator("tbody tr").first.focus()
    page.keyboard.press("Enter")
    is_drawn(picture(explorer))
    expect(explorer).to_contain_text("difference")
    with redraws(picture(explorer)):
        explorer.get_by_role("button", name="difference", exact=True).click()
    shot(explorer, "explorer-two")


def test_what_was_taken_away_is_compared(page: Page, shot: Shot) -> None:
    view = output(page, REMOVAL)
    chart = view.locator(".js-plotly-plot .heatmaplayer image")
    expect(chart).to_be_visible()
    click(chart, 0.9, 0.1)
    is_drawn(picture(view))
    expect(view).to_contain_text("without ")
    shot(view, "study-leave-one-out")


def test_a_click_says_what_is_kept_at_a_theta(page: Page, shot: Shot) -> None:
    view = output(page, PHASES)
    bar = view.locator(".js-plotly-plot .barlayer .point path").first
    expect(bar).to_be_visible()
    click(bar, 0.5, 0.5)
    expect(view).to_contain_text("The same from")
    shot(view, "study-phases")


def test_a_forced_run_beside_the_run(page: Page, shot: Shot) -> None:
    view = output(page, FORCED)
    is_drawn(picture(view))
    expect(view).to_contain_text("flag")
    shot(view, "study-counterfactual")


def test_frames_follow_the_slider_and_the_curves(page: Page, shot: Shot) -> None:
    player = output(page, VIDEO)
    curves, where = player.locator(".c-frames svg"), player.locator(".c-frames [role=status]")
    expect(curves.locator("[data-query]")).to_have_count(3)
    before = where.inner_text()
    with redraws(picture(player)):
        click(curves, 0.97, 0.5)
    expect(where).not_to_have_text(before)
    expect(where).to_contain_text(f"{len(KEPT)}")
    shot(player, "video")
    player.locator(".c-frames input").press("Home")
    expect(where).to_have_text(before)


def test_expressions_have_masks_of_their_own(page: Page, shot: Shot) -> None:
    player = output(page, EXPRESSIONS)
    is_drawn(picture(player))
    expect(player.locator(".c-query")).to_have_count(2)
    shot(player, "refer")
