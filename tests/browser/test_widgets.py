"""Every view of a trace in JupyterLab: it is there, keyboard and mouse drive it, and its figure follows."""

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from skimage import data

from tests.browser.figures import click, plot, redraws
from tests.browser.jupyter import Server, output, run_notebook
from tests.traces import GRID, make_trace

CELLS = [
    "from carlab import Trace\n"
    "from carlab.widgets import Compare, ProbeInspector, RecurrencePlayer, ScoreMatrix, ScorePlot, linked\n"
    "a, b = Trace.load('a.safetensors'), Trace.load('b.safetensors')",
    "RecurrencePlayer(a)",
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
    handle = player.locator(".noUi-handle").first
    handle.focus()
    with redraws(plot(player)):
        handle.press("ArrowRight")
    expect(player).to_contain_text("step 2 of 3 · 3 active, 2 kept")
    expect(player).to_contain_text("dropped at step 1")
    shot(player, "player")
    with redraws(plot(player)):
        handle.press("ArrowLeft")
    expect(player).to_contain_text("step 1 of 3")


def test_player_by_mouse(page: Page, shot: Shot) -> None:
    player = output(page, PLAYER)
    for layer in ("CAM", "prompted image", "final", "mask"):
        with redraws(plot(player)):
            player.get_by_role("button", name=layer, exact=True).click()
        shot(player, f"player-{layer.replace(' ', '-')}")
    with redraws(plot(player)):
        player.locator("select").select_option(label="2. dog")


def test_player_plays(page: Page) -> None:
    player = output(page, PLAYER)
    player.locator(".widget-play button").first.click()
    expect(player).to_contain_text("step 3 of 3 · 2 active, 2 kept: fixed point")


def test_a_click_on_a_line_selects_it(page: Page, shot: Shot) -> None:
    scores = output(page, SCORES)
    with redraws(plot(scores)):
        click(scores.locator(".scatterlayer .trace").first.locator(".points path").first)
    shot(scores, "scores")


def test_matrix(page: Page, shot: Shot) -> None:
    matrix = output(page, MATRIX)
    expect(plot(matrix).locator(".heatmaplayer image")).to_be_visible()
    expect(plot(matrix)).to_contain_text("1. cat")
    shot(matrix, "matrix")


def test_inspector(page: Page, shot: Shot) -> None:
    inspector = output(page, INSPECTOR)
    expect(inspector).to_contain_text("Grad-CAM after relu")
    shot(inspector, "inspector-maps")
    inspector.locator("select").select_option("affinity.attention")
    expect(inspector).to_contain_text("patch attention")
    expect(plot(inspector).locator(".scatterlayer .trace")).to_be_visible()  # the mark of the patch
    for map_or_photo in (0, 1):
        with redraws(plot(inspector)):
            click(plot(inspector, map_or_photo).locator(".nsewdrag").first, 0.75, 0.25 + 0.5 * map_or_photo)
    shot(inspector, "inspector-attention")


def test_compare(page: Page, shot: Shot) -> None:
    compare = output(page, COMPARE)
    expect(compare).to_contain_text("kept only here, step 1")
    handle = compare.locator(".noUi-handle").first
    handle.focus()
    with redraws(plot(compare, 0)), redraws(plot(compare, 1)):
        handle.press("ArrowRight")
    expect(compare).to_contain_text("step 2 of 3")
    expect(compare).to_contain_text("step 2 of 2")
    shot(compare, "compare")


def test_dashboard_is_linked(page: Page, shot: Shot) -> None:
    dashboard = output(page, DASHBOARD)
    photo, scores, matrix = (plot(dashboard, number) for number in range(3))
    handle = dashboard.locator(".noUi-handle").first
    handle.focus()
    with redraws(photo), redraws(scores), redraws(matrix):
        handle.press("ArrowRight")
    with redraws(photo), redraws(scores):
        click(matrix.locator(".nsewdrag").first, 0.1, 0.2)
    expect(dashboard.locator("select option:checked")).to_have_text("1. cat")
    shot(dashboard, "dashboard")
