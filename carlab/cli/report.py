"""`carlab report`: numbers of runs as tables and as a page."""

from pathlib import Path
from typing import Annotated

import typer

from carlab.cli import options


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs, or of a sweep; others are compared to the first.")
    ],
    form: options.TableFormat = "text",
    page: Annotated[Path | None, typer.Option(help="Also write one HTML page that works offline.")] = None,
) -> None:
    """Sum up runs, finished or not."""
    from carlab.evaluate.folder import RunFolder, run_paths
    from carlab.evaluate.page import write_report
    from carlab.evaluate.report import render
    from carlab.evaluate.summary import Summary

    folders = [RunFolder.read(path) for path in run_paths(runs)]
    summaries = [Summary.of(folder, folder.ids) for folder in folders]
    if page is not None:
        write_report(folders, summaries, page)
    typer.echo(render(summaries, form))
