"""`carlab lab`: an image and queries in a live notebook, in JupyterLab on this machine."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from carlab.errors import SettingError
from carlab.trace.show import printable

LOCAL = (
    "--ServerApp.ip=127.0.0.1",
    # JupyterLab sends no requests for news or newer versions.
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)
INTRODUCTION = """# carlab lab

Run the cell below (Shift+Enter). Edit the queries, move the thresholds, and the result follows."""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def lab(
    image: Annotated[Path, typer.Argument(help="An image file.", show_default=False)],
    jupyter: Annotated[
        list[str] | None, typer.Argument(help="After --, options of JupyterLab itself.", show_default=False)
    ] = None,
    query: Annotated[
        list[str], typer.Option("--query", "-q", help="What to look for; repeat it.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    preset: Annotated[str, typer.Option(help="offline, reference/DATASET or paper/DATASET.")] = "offline",
    folder: Annotated[Path, typer.Option(help="Folder for the notebook.")] = Path("carlab-lab"),
    port: Annotated[int, typer.Option(help="Port of the server; another is taken if it is in use.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
) -> None:
    """Open an image and queries in JupyterLab, live; on this machine alone, behind a token."""
    from carlab.files.archive import make_folder
    from carlab.files.images import load_image
    from carlab.presets import PRESETS
    from carlab.queries import check_queries

    queries = check_queries(query)
    load_image(image)
    extra = check_options(jupyter or ())
    if preset not in PRESETS:
        raise SettingError(
            f"expected a preset out of {', '.join(PRESETS)}, got {preset!r}; choose one of them"
        )
    if find_spec("jupyterlab") is None:
        raise SettingError(
            'expected JupyterLab, got none installed; run: pip install "clip-as-rnn-lab[notebooks]"'
        )
    make_folder(folder)
    path = write_notebook(folder, image, queries, preset)
    typer.echo(f"notebook: {printable(str(path))}")
    show = () if browser else ("--no-browser",)
    start([str(path), f"--ServerApp.port={port}", *LOCAL, *show, *extra])


def start(arguments: Sequence[str]) -> None:
    """Run JupyterLab in this process until it is stopped."""
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(list(arguments))


def check_options(arguments: Sequence[str]) -> Sequence[str]:
    """Return `arguments` if each is an option: a second image would silently be opened as a file."""
    for argument in arguments:
        if not argument.startswith("-"):
            raise SettingError(
                f"expected one image, then only options of JupyterLab after --, got {argument!r}; remove it"
            )
    return arguments


def write_notebook(folder: Path, image: Path, queries: Sequence[str], preset: str) -> Path:
    """Write a notebook with the Lab on this image, under a name that is free, and return its path.

    Raises
    ------
    TraceError
        If the folder cannot be written.
    """
    from nbformat import v4, writes

    from carlab.files.archive import write_file

    cells = [v4.new_markdown_cell(INTRODUCTION), v4.new_code_cell(code(image.resolve(), queries, preset))]
    notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    path = next(path for path in names(folder, image) if not path.exists())
    return write_file(path, writes(notebook).encode())


def names(folder: Path, image: Path) -> Iterator[Path]:
    """Yield names for a notebook on this image: cat.ipynb, cat-2.ipynb, ..."""
    stem = image.stem[:60]
    yield folder / f"{stem}.ipynb"
    yield from (folder / f"{stem}-{number}.ipynb" for number in count(2))


def code(image: Path, queries: Sequence[str], preset: str) -> str:
    """Return the Python that opens the Lab; by `repr` names and queries stay text, whatever they hold."""
    return (
        "from carlab.widgets import Lab\n\n"
        f"lab = Lab({str(image)!r}, {list(queries)!r}, preset={preset!r})\n"
        "lab"
    )
