"""Views opened one after the other, with a slow browser and a kernel that answers late: none stays empty.

`CARLAB_OPENINGS=50` opens fifty of them; otherwise each kind is opened once.
"""

import os
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from skimage import data

from tests.browser.jupyter import Server, open_notebook, output
from tests.browser.pixels import is_drawn, picture
from tests.traces import make_trace

SLOWER = 8
"""How much slower the browser's processor is made."""
LATE = 120_000
"""Milliseconds after which what is not drawn never will be."""
DRAWN: dict[str, dict[str, int]] = {
    "RecurrencePlayer(a)": {".c-picture canvas": 1, ".c-query": 4},
    "ScorePlot(a)": {".c-scores .c-line": 4},
    "ScoreMatrix(a)": {".c-matrix td.c-num": 16},
    "ProbeInspector(a)": {".barlayer .point": 4},
    "Compare(a, a)": {".c-query": 4},
}
"""What a view holds once it is drawn, by the Python that opens it."""
OPENINGS = int(os.environ.get("CARLAB_OPENINGS", len(DRAWN)))
KINDS = [list(DRAWN)[number % len(DRAWN)] for number in range(OPENINGS)]
IMPORTS = (
    "import time\n"
    "from carlab import Trace\n"
    "from carlab.widgets import Compare, ProbeInspector, RecurrencePlayer, ScoreMatrix, ScorePlot\n"
    "a = Trace.load('opened.safetensors')"
)
BUSY = "time.sleep(1)"
"""The kernel answers nobody meanwhile."""
RUN_TWO = """index => {
    const { jupyterapp } = window, notebook = jupyterapp.shell.currentWidget.content;
    for (const one of [index, index + 1]) {
        notebook.activeCellIndex = one;
        notebook.deselectAll();
        jupyterapp.commands.execute("notebook:run-cell");
    }
}"""


@pytest.fixture(scope="module")
def page(server: Server, new_page: Callable[..., Page]) -> Page:
    trace = make_trace(
        ["cat", "dog", "sofa", "lamp"],
        kept=((0, 1, 2), (0, 1), (0, 1)),
        image=data.astronaut()[::2, ::2],
        picture=96,
        probes={"filter.scores": np.array([0.8, 0.8, 0.1, 0.1], np.float32)},
    )
    trace.save(server.root / "opened.safetensors")
    cells = [IMPORTS, *(cell for kind in KINDS for cell in (kind, BUSY))]
    page = new_page()
    open_notebook(page, server.write("openings.ipynb", cells), len(cells))
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
    client = page.context.new_cdp_session(page)
    client.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    return page


@pytest.mark.parametrize("number", range(OPENINGS))
def test_it_is_drawn(page: Page, number: int) -> None:
    page.evaluate(RUN_TWO, 1 + 2 * number)
    view = output(page, 1 + 2 * number)
    for part, count in DRAWN[KINDS[number]].items():
        expect(view.locator(part)).to_have_count(count, timeout=LATE)
    if view.locator(".c-picture").count():
        is_drawn(picture(view))
    assert "Failed" not in view.inner_text()
