"""`carlab lab`: a photo and words in a live notebook, in JupyterLab on this machine."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from carlab.display import printable
from carlab.errors import SettingError

LOCAL = (
    "--ServerApp.ip=127.0.0.1",
    # JupyterLab asks nobody outside about news or newer versions.
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)
INTRODUCTION = """# carlab lab

Run the cell below (Shift+Enter). Edit the words, move the thresholds, and the answer follows."""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def lab(
    photo: Annotated[Path, typer.Argument(help="A photo.", show_default=False)],
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
    """Open a photo and words in JupyterLab, live; on this machine alone, behind a token."""
    from carlab.cli.segment import make_folder
    from carlab.images import load_image
    from carlab.presets import PRESETS
    from carlab.queries import check_queries

    queries = check_queries(query)
    load_image(photo)
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
    path = write_notebook(folder, photo, queries, preset)
    typer.echo(f"notebook: {printable(str(path))}")
    show = () if browser else ("--no-browser",)
    start([str(path), f"--ServerApp.port={port}", *LOCAL, *show, *extra])


def start(arguments: Sequence[str]) -> None:
    """Run JupyterLab in this process until it is stopped."""
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(list(arguments))


def check_options(words: Sequence[str]) -> Sequence[str]:
    """Return `words` if each is an option: a second photo would silently be opened as a file."""
    for word in words:
        if not word.startswith("-"):
            raise SettingError(
                f"expected one photo, then only options of JupyterLab after --, got {word!r}; remove it"
            )
    return words


def write_notebook(folder: Path, photo: Path, queries: Sequence[str], preset: str) -> Path:
    """Write a notebook with the Lab on this photo, under a name that is free, and return its path.

    Raises
    ------
    TraceError
        If the folder cannot be written.
    """
    from nbformat import v4, writes

    from carlab.archive import write_file

    cells = [v4.new_markdown_cell(INTRODUCTION), v4.new_code_cell(code(photo.resolve(), queries, preset))]
    notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    path = next(path for path in names(folder, photo) if not path.exists())
    return write_file(path, writes(notebook).encode())


def names(folder: Path, photo: Path) -> Iterator[Path]:
    """Names for a notebook on this photo: cat.ipynb, cat-2.ipynb, ..."""
    stem = photo.stem[:60]
    yield folder / f"{stem}.ipynb"
    yield from (folder / f"{stem}-{number}.ipynb" for number in count(2))


def code(photo: Path, queries: Sequence[str], preset: str) -> str:
    """The Python that opens the Lab; by `repr` names and words stay text, whatever they hold."""
    return (
        "from carlab.widgets import Lab\n\n"
        f"lab = Lab({str(photo)!r}, {list(queries)!r}, preset={preset!r})\n"
        "lab"
    )
