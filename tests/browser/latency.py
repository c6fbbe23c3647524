"""`python -m tests.browser.latency`: milliseconds from a key to the redrawn view.

In JupyterLab, by the browser's clock: from the key's event to the frame after the view was drawn last: the
picture into its canvas, the other parts into the page. `--slower 8` slows the browser's processor down.
Keys come one at a time, each after the figures have been at rest.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright
from skimage import data

import carlab
from tests.browser.conftest import FLAGS, LAPTOP
from tests.browser.jupyter import output, run_notebook, serve

KEYS, REST = 20, 600
"""Keys pressed on each slider, and milliseconds between two."""
QUERIES = ["space shuttle", "flag", "airplane", "bicycle", "dog"]
CELLS = [
    "from carlab import Trace\n"
    "from carlab.widgets import *\n"
    "from skimage import data\n"
    "a, b = Trace.load('a.safetensors'), Trace.load('b.safetensors')",
    "linked(RecurrencePlayer(a), ScorePlot(a), ScoreMatrix(a))",
    "Compare(a, b)",
    f"lab = Lab(data.astronaut(), {QUERIES}); lab",
    "lab.wait()",
]
ROWS = (
    (1, ".c-picture canvas", "step", {"player": ".c-picture", "scores": ".c-scores", "matrix": ".c-matrix"}),
    (2, ".c-picture canvas", "step", {"compare": ".c-picture"}),
    (3, ".noUi-handle", "theta", {"Lab, image": ".c-picture", "Lab, scores": ".c-scores"}),
)
"""Cell, what has the focus, what the keys change, and the parts that are reported, by name."""
WATCH = """(parts) => {
    window.seen = parts.map(() => []);
    const note = (number) => requestAnimationFrame(() => {
        window.seen[number].push(performance.now() - window.pressed);
    });
    window.addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...rest) {
        parts.forEach((part, number) => { if (part.contains(this.canvas)) note(number); });
        return draw.apply(this, rest);
    };
    parts.forEach((part, number) => new MutationObserver(() => note(number))
        .observe(part, { subtree: true, childList: true, attributes: true }));
}"""


def main() -> None:
    """Print a table of medians and of the slowest tenth."""
    slower = int(sys.argv[2]) if sys.argv[1:2] == ["--slower"] else 1
    print("| view | key on | median ms | 90 % below |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home, serve(Path(home)) as server, sync_playwright() as playwright:
        for name, theta in (("a", 0.1), ("b", 0.4)):
            model = carlab.change(carlab.load(), theta=theta)
            model(data.astronaut(), QUERIES).save(server.root / f"{name}.safetensors")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=LAPTOP)
        run_notebook(page, server.write("latency.ipynb", CELLS), len(CELLS))
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
        for cell, focus, key, parts in ROWS:
            target = output(page, cell).locator(focus).first
            if key != "step":
                slider = output(page, cell).locator(".widget-hslider", has_text=key).first
                target = slider.locator(focus)
            places = [output(page, cell).locator(part).first for part in parts.values()]
            for name, times in zip(parts, press(page, target, places), strict=True):
                report(name, key, times)


def press(page: Page, target: Locator, parts: list[Locator]) -> list[list[float]]:
    """Press a key back and forth; for each part, the times of those keys that redrew it."""
    page.evaluate(WATCH, [part.element_handle() for part in parts])
    target.focus()
    times: list[list[float]] = [[] for _ in parts]
    for number in range(KEYS + 2):
        page.evaluate("window.seen.forEach((times) => { times.length = 0; })")
        target.press("ArrowLeft" if number % 2 else "ArrowRight")
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
