"""Every view of a trace in JupyterLab: it is there, keyboard and mouse drive it, and its figure follows."""

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from skimage import data

from tests.browser.jupyter import Server, output, run_notebook
from tests.browser.pixels import click, is_drawn, picture, redraws
from tests.traces import GRID, make_trace

CELLS = [
    "from carlab import Trace\n"
    "from carlab.widgets import Compare, ProbeInspector, RecurrencePlayer, ScoreMatrix, ScorePlot, linked\n"
    "a, b = Trace.load('a.safetensors'), Trace.load('b.safetensors')",
    "player = RecurrencePlayer(a)\nplayer",
    "ScorePlot(a)",
    "ScoreMatrix(a)",
    "ProbeInspector(a)",
    "Compare(a, b)",
    "linked(RecurrencePlayer(a), ScorePlot(a), ScoreMatrix(a))",
]
PLAYER, SCORES, MATRIX, INSPECTOR, COMPARE, DASHBOARD = range(1, 7)
NAMES = ("cat", "dog", "sofa", "lamp")
Shot = Callable[[Locator | Page, str], None]


@pytest.fixture(scope="module")
def page(server: Server, new_page: Callable[..., Page]) -> Page:
    """A notebook that has run, with every widget in a cell of its own."""
    patches = GRID[0] * GRID[1]
    probes = {
        "cam.raw": np.linspace(0, 2, 4 * patches).reshape(4, *GRID),
        "affinity.attention": np.linspace(0, 1, patches**2).reshape(patches, patches) % 0.37,
    }
    looks = {"image": data.astronaut()[::2, ::2], "picture": 96, "probes": probes}
    make_trace(NAMES, kept=((0, 1, 2), (0, 1), (0, 1)), **looks).save(server.root / "a.safetensors")
    make_trace(NAMES, kept=((0, 3), (0, 3)), **looks).save(server.root / "b.safetensors")
    page = new_page()
    run_notebook(page, server.write("widgets.ipynb", CELLS), len(CELLS))
    return page


def test_player_by_keyboard(page: Page, shot: Shot) -> None:
    player = output(page, PLAYER)
    is_drawn(picture(player))
    picture(player).focus()
    with redraws(picture(player)):
        page.keyboard.press("ArrowRight")
    expect(player).to_contain_text("step 2 of 3 · 3 active, 2 kept")
    expect(player).to_contain_text("dropped at step 1")
    page.keyboard.press("2")
    expect(player.locator(".c-query[aria-pressed=true]")).to_contain_text("2. dog")
    shot(player, "player")
    assert page.locator(".jp-CodeCell").count() == len(CELLS)  # no key was a command of JupyterLab
    page.keyboard.press("Escape")
    with redraws(picture(player)):
        page.keyboard.press("ArrowLeft")
    expect(player).to_contain_text("step 1 of 3")


def test_player_by_mouse(page: Page, shot: Shot) -> None:
    player = output(page, PLAYER)
    for layer in ("CAM", "contours", "prompted image", "final", "mask"):
        with redraws(picture(player)):
            player.get_by_role("button", name=layer, exact=True).click()
        shot(player, f"player-{layer.replace(' ', '-')}")
    with redraws(picture(player)):
        player.locator(".c-query[data-query='1']").click()


def test_the_kernel_knows_what_is_selected(page: Page) -> None:
    output(page, PLAYER).locator(".c-strip [data-step='1']").click()
    asked = page.evaluate(
        """async () => {
            const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
            let said = "";
            const future = kernel.requestExecute({ code: "print(player.step, player.query)" });
            future.onIOPub = ({ content }) => { said += content.text ?? ""; };
            await future.done;
            return said;
        }"""
    )
    assert asked == "1 1\n"


def test_a_click_on_a_line_selects_it(page: Page, shot: Shot) -> None:
    scores = output(page, SCORES)
    scores.locator(".c-line[data-query='3'] .c-cross").click()
    expect(scores.locator(".c-line[data-query='1']")).to_have_attribute("opacity", "0.25")
    shot(scores, "scores")


def test_matrix(page: Page, shot: Shot) -> None:
    matrix = output(page, MATRIX)
    expect(matrix.locator("td.c-num")).to_have_count(16)
    matrix.locator("tr[data-query='2']").click()
    expect(matrix.locator("tr.c-on th[scope=row]")).to_have_text("3. sofa")
    shot(matrix, "matrix")


def test_inspector(page: Page, shot: Shot) -> None:
    inspector = output(page, INSPECTOR)
    expect(inspector).to_contain_text("Grad-CAM after relu")
    chart = inspector.locator(".js-plotly-plot")
    expect(chart.locator(".heatmaplayer image")).to_be_visible()
    shot(inspector, "inspector-maps")
    inspector.locator("select").select_option("affinity.attention")
    expect(inspector).to_contain_text("patch attention")
    mark = chart.locator(".scatterlayer .points path")
    expect(mark).to_be_visible()
    before = mark.get_attribute("transform")
    click(picture(inspector), 0.75, 0.75)
    expect(mark).not_to_have_attribute("transform", before or "")
    shot(inspector, "inspector-attention")


def test_compare(page: Page, shot: Shot) -> None:
    compare = output(page, COMPARE)
    expect(compare).to_contain_text("kept at step 1 by one alone")
    is_drawn(picture(compare))
    for mode in ("blink", "slider", "difference", "side by side"):
        with redraws(picture(compare)):
            compare.get_by_role("button", name=mode, exact=True).click()
        shot(compare, f"compare-{mode.replace(' ', '-')}")
    picture(compare).focus()
    page.keyboard.press("ArrowRight")
    expect(compare).to_contain_text("step 2 of 2")


def test_dashboard_is_linked(page: Page, shot: Shot) -> None:
    dashboard = output(page, DASHBOARD)
    with redraws(picture(dashboard)):
        dashboard.locator(".c-strip [data-step='1']").click()
    expect(dashboard.locator(".c-matrix td.c-num")).to_have_count(9)
    dashboard.locator(".c-matrix tr[data-query='0']").click()
    expect(dashboard.locator(".c-query[aria-pressed=true]")).to_contain_text("1. cat")
    expect(dashboard.locator(".c-line[data-query='1']")).to_have_attribute("opacity", "0.25")
    shot(dashboard, "dashboard")
