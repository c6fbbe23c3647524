"""`carlab lab`: an image and queries in a live notebook, in JupyterLab on this machine."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from carlab.cli import options
from carlab.cli.segment import numbered
from carlab.errors import SettingError, check_choice
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
    image: Annotated[
        Path | None,
        typer.Argument(help="An image file or a folder of them; default: a sample.", show_default=False),
    ] = None,
    jupyter: Annotated[
        list[str] | None, typer.Argument(help="After --, options of JupyterLab itself.")
    ] = None,
    query: options.Queries = [],  # noqa: B006 - typer copies it
    preset: Annotated[str, typer.Option(help="offline, reference/DATASET or paper/DATASET.")] = "offline",
    folder: Annotated[Path, typer.Option(help="Folder for the notebook.")] = Path("carlab-lab"),
    port: Annotated[int, typer.Option(help="Port of the server; another is taken if it is in use.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    threads: options.Threads = None,
) -> None:
    """Open images and queries in JupyterLab, live; on this machine alone, behind a token."""
    from carlab.files.archive import make_folder
    from carlab.files.images import list_images, load_image
    from carlab.queries import check_queries

    # The sample comes with queries of its own.
    queries = None if image is None and not query else check_queries(query)
    if image is not None:
        load_image(list_images([image])[0])
    check(preset, jupyter or ())
    path = write_notebook(make_folder(folder), image, queries, preset)
    typer.echo(f"notebook: {printable(str(path))}")
    shown = () if browser else ("--no-browser",)
    start([str(path), f"--ServerApp.port={port}", *LOCAL, *shown, *(jupyter or ())])


def start(arguments: Sequence[str]) -> None:
    """Run JupyterLab in this process until it is stopped."""
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(list(arguments))


def check(preset: str, arguments: Sequence[str]) -> None:
    """Raise SettingError if the preset is unknown, an argument is no option, or JupyterLab is missing."""
    from carlab.presets import PRESETS

    for argument in arguments:
        if not argument.startswith("-"):  # JupyterLab would open a second image as a file
            raise SettingError(
                f"expected one image, then only options of JupyterLab after --, got {argument!r}; remove it"
            )
    check_choice("a preset", preset, PRESETS)
    if find_spec("jupyterlab") is None:
        raise SettingError(
            'expected JupyterLab, got none installed; run: pip install "clip-as-rnn-lab[notebooks]"'
        )


def write_notebook(folder: Path, image: Path | None, queries: Sequence[str] | None, preset: str) -> Path:
    """Write a notebook with the Lab on this image or folder, under a name that is free; return its path."""
    from nbformat import v4, writes

    from carlab.files.archive import write_file

    # By repr: a path and queries stay text, whatever they hold.
    source = None if image is None else str(image.resolve())
    call = f"lab = Lab({source!r}, {queries and list(queries)!r}, preset={preset!r})"
    code = f"from carlab.widgets import Lab\n\n{call}\nlab"
    cells = [v4.new_markdown_cell(INTRODUCTION), v4.new_code_cell(code)]
    notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    paths = (folder / f"{name}.ipynb" for name in numbered("sample" if image is None else image.stem[:60]))
    return write_file(next(path for path in paths if not path.exists()), writes(notebook).encode())
