"""Fixtures of the browser tests: JupyterLab, Chromium, and pages that may speak to this machine alone."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

    from tests.browser.jupyter import Server

# The other tests run without playwright.
collect_ignore_glob = [] if find_spec("playwright") else ["test_*.py"]

SHOTS = Path(__file__).parents[2] / "out" / "browser"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20_000
"""Milliseconds after which something that should be seen is missing; a busy machine is slow, not wrong."""
LAPTOP = {"width": 1366, "height": 1600}
"""As wide as a small laptop's screen; as high as the largest widget, so that a screenshot holds all of it."""
HERE = {"127.0.0.1", "localhost"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("browser")


@dataclass
class Watch:
    """What the pages of a module asked of other machines, and what they complained of, in which test."""

    abroad: list[str] = field(default_factory=list)
    complaints: list[tuple[str, str]] = field(default_factory=list)

    def over(self, context: "BrowserContext") -> None:
        """Refuse every request that would leave this machine, and note it."""
        context.route(lambda address: not self.at_home(address), self._refuse)
        context.on("page", self._listen)

    @staticmethod
    def at_home(address: str) -> bool:
        parts = urlsplit(address)
        return parts.scheme in {"data", "blob", "file", "about"} or parts.hostname in HERE

    def _refuse(self, route: "Route") -> None:
        self.abroad.append(route.request.url)
        route.abort()

    def _listen(self, page: "Page") -> None:
        page.on(
            "websocket", lambda socket: None if self.at_home(socket.url) else self.abroad.append(socket.url)
        )
        page.on("console", lambda said: self._complain(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._complain(str(error)))

    def _complain(self, text: str) -> None:
        self.complaints.append((os.environ.get("PYTEST_CURRENT_TEST", ""), text))


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def server(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    from tests.browser.jupyter import serve

    with serve(tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """Fails the module's last test if a page spoke to another machine, or complained."""
    watching = Watch()
    yield watching
    assert watching.abroad == []
    assert watching.complaints == []


@pytest.fixture(scope="module")
def new_page(browser: "Browser", watch: Watch) -> Iterator[Callable[..., "Page"]]:
    """Open a page in a context of its own; options as of `Browser.new_context`."""
    contexts = []

    def opener(**options: Any) -> "Page":
        context = browser.new_context(**{"viewport": LAPTOP, **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        watch.over(context)
        return context.new_page()

    yield opener
    for context in contexts:
        context.close()


@pytest.fixture
def shot() -> Callable[[Any, str], None]:
    """Write a screenshot of a page or a part of it to out/browser, to be looked at."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def take(part: Any, name: str) -> None:
        part.screenshot(path=SHOTS / f"{name}.png")

    return take
