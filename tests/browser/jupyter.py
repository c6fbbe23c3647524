"""A real JupyterLab, offline and with settings of its own, and notebooks in it as a person meets them."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import nbformat
from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).parents[2]
START, RUN = 60, 90
"""Seconds that the server, and all cells of a notebook, may take on a slow machine."""
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Every cell is in the page, also those out of sight.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
QUIET = (
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
    "--LabApp.extension_manager=readonly",
    # A browser that is slow to answer is not gone: what is sent while it connects again is lost.
    "--ServerApp.websocket_ping_interval=0",
)
"""No question to anybody outside, and none to the browser whether it is still there."""

READY = """(cells) => {
    const panel = window.jupyterapp?.shell.currentWidget;
    const context = panel?.sessionContext;
    const code = panel?.content?.widgets?.filter((cell) => cell.model.type === "code") ?? [];
    return context?.isReady && context.session?.kernel?.status === "idle" && code.length === cells;
}"""
RUN_ALL = """async (limit) => {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("cells still run")), limit));
    await Promise.race([window.jupyterapp.commands.execute("notebook:run-all-cells"), late]);
    return window.jupyterapp.shell.currentWidget.content.widgets
        .flatMap((cell) => cell.model.toJSON().outputs ?? [])
        .filter((output) => output.output_type === "error" || output.name === "stderr")
        .map((output) => (output.traceback ?? [output.text]).join("\\n"))
        .join("\\n");
}"""
"""Gives the errors and warnings of all cells."""


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: its address with a slash at the end, its token, and the folder it serves."""

    address: str
    token: str
    root: Path

    def write(self, name: str, cells: Sequence[str]) -> str:
        """Write a notebook of code cells into the folder, and give its address."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, self.root / name)
        return self.open(name)

    def open(self, name: str) -> str:
        """The address of a notebook, in a workspace of its own: tabs of other tests do not come back."""
        return f"{self.address}lab/workspaces/{secrets.token_hex(4)}/tree/{quote(name)}?token={self.token}"


@contextmanager
def serve(home: Path) -> Iterator[Server]:
    """Run JupyterLab on a free port of this machine, with everything it writes under `home`."""
    port, root = free_port(), home / "work"
    root.mkdir(parents=True)
    place = [f"--ServerApp.root_dir={root}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    with run_server(
        [sys.executable, "-m", "jupyterlab", *place, "--no-browser", *QUIET], home, root, port
    ) as server:
        yield server


@contextmanager
def run_server(command: Sequence[str], home: Path, root: Path, port: int) -> Iterator[Server]:
    """Run a command that starts a server on `port` and takes further options of JupyterLab at its end."""
    write_settings(home)
    server = Server(f"http://127.0.0.1:{port}/", secrets.token_hex(16), root)
    access = [
        f"--IdentityProvider.token={server.token}",
        "--allow-root",
        "--LabApp.expose_app_in_browser=True",
    ]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, *access], env=environment(home), stdout=log, stderr=log)
    try:
        wait_until_up(server, process, home / "server.log")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(home: Path) -> dict[str, str]:
    """No file of the person who runs the tests is read or written."""
    folders = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    return {
        **os.environ,
        **folders,
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


def write_settings(home: Path) -> None:
    """Put `SETTINGS` where JupyterLab looks for those that a person made in its menus."""
    for name, values in SETTINGS.items():
        path = home / "config" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


def wait_until_up(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers; what it said is in the error if it never does."""
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{server.address}api/status?token={server.token}", timeout=5):  # noqa: S310 - http, here
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


def run_notebook(page: Page, address: str, cells: int) -> None:
    """Open a notebook of so many code cells, wait for its kernel, and run all to the end."""
    open_notebook(page, address, cells)
    run_cells(page, cells)


def open_notebook(page: Page, address: str, cells: int) -> None:
    """Open a notebook of so many code cells, and wait for its kernel."""
    page.goto(address)
    # What is sent before all is there and the kernel is idle is lost, one time in five.
    page.wait_for_function(READY, arg=cells, timeout=1000 * START)
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")


def run_cells(page: Page, cells: int) -> None:
    """Run all cells of an open notebook to the end; fails if one of them does."""
    said = page.evaluate(RUN_ALL, 1000 * RUN)
    assert not said, said
    expect(page.locator(".jp-CodeCell .jp-InputPrompt")).to_have_text([f"[{n + 1}]:" for n in range(cells)])


def output(page: Page, cell: int) -> Locator:
    """What cell `cell` (from 0) shows."""
    return page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")
