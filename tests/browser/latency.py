"""`python -m tests.browser.latency`: milliseconds from a key on a slider to the redrawn figure.

In JupyterLab, by the browser's clock: from the key's event to the frame after the figure's last change.
Keys come one at a time, each after the figures have been at rest.
"""

import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright
from skimage import data

import carlab
from tests.browser.conftest import FLAGS, LAPTOP
from tests.browser.figures import plot
from tests.browser.jupyter import output, run_notebook, serve

KEYS, REST = 20, 600
"""Keys pressed on each slider, and milliseconds between two."""
QUERIES = ["space shuttle", "flag", "airplane", "bicycle", "dog"]
CELLS = [
    "from carlab import Trace\n"
    "from carlab.widgets import *\n"
    "from skimage import data\n"
    "a, b = Trace.load('a.safetensors'), Trace.load('b.safetensors')",
    "linked(RecurrencePlayer(a), ScorePlot(a))",
    "linked(RecurrencePlayer(a), ScoreMatrix(a))",
    "linked(RecurrencePlayer(a), ProbeInspector(a, probe='cam.raw'))",
    "Compare(a, b)",
    f"lab = Lab(data.astronaut(), {QUERIES}); lab",
    "lab.wait()",
]
ROWS = (
    (1, "step", ("player", "scores")),
    (2, "step", ("", "matrix")),
    (3, "step", ("", "probe inspector, maps")),
    (4, "step", ("compare, left", "compare, right")),
    (5, "theta", ("", "Lab, scores")),
    (5, "opacity", ("Lab, image",)),
)
"""Cell, slider, and the figures of the cell in order, those by name that are reported."""
WATCH = """(figures) => {
    window.seen = figures.map(() => []);
    window.addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
    figures.forEach((figure, number) => new MutationObserver(() => requestAnimationFrame(() => {
        window.seen[number].push(performance.now() - window.pressed);
    })).observe(figure, { subtree: true, childList: true, attributes: true }));
}"""


def main() -> None:
    """Print a table of medians and of the slowest tenth."""
    print("| figure | key on | median ms | 90 % below |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home, serve(Path(home)) as server, sync_playwright() as playwright:
        for name, theta in (("a", 0.1), ("b", 0.4)):
            model = carlab.change(carlab.load(), theta=theta)
            model(data.astronaut(), QUERIES, record=["cam.*"]).save(server.root / f"{name}.safetensors")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=LAPTOP)
        run_notebook(page, server.write("latency.ipynb", CELLS), len(CELLS))
        for cell, slider, names in ROWS:
            handle = (
                output(page, cell).locator(".widget-hslider", has_text=slider).first.locator(".noUi-handle")
            )
            figures = [plot(output(page, cell), number) for number in range(len(names))]
            for name, times in zip(names, press(page, handle, figures), strict=True):
                if name:
                    report(name, slider, times)


def press(page: Page, handle: Locator, figures: list[Locator]) -> list[list[float]]:
    """Press a key back and forth; for each figure, the times of those keys that redrew it."""
    page.evaluate(WATCH, [figure.element_handle() for figure in figures])
    handle.focus()
    times: list[list[float]] = [[] for _ in figures]
    for number in range(KEYS + 2):
        page.evaluate("window.seen.forEach((times) => { times.length = 0; })")
        handle.press("ArrowLeft" if number % 2 else "ArrowRight")
        page.wait_for_timeout(REST)
        if number >= 2:  # the first of each kind fills caches
            for kept, seen in zip(times, page.evaluate("window.seen"), strict=True):
                kept.extend(seen[-1:])
    return times


def report(name: str, slider: str, times: list[float]) -> None:
    """One row of the table."""
    middle, slow = statistics.median(times), statistics.quantiles(times, n=10)[-1]
    print(f"| {name} | {slider} | {middle:.0f} | {slow:.0f} |")


if __name__ == "__main__":
    main()
