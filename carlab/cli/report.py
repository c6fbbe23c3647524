"""`carlab report`: numbers of runs as tables and as a page; `carlab datasets`: what can be read."""

from pathlib import Path
from typing import Annotated

import typer

from carlab.display import pad


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs; others are compared to the first.")],
    form: Annotated[str, typer.Option("--format", "-f", help="text, markdown, csv or latex.")] = "text",
    page: Annotated[
        Path | None, typer.Option(help="Also write one HTML page that works offline.", show_default=False)
    ] = None,
) -> None:
    """Sum up runs, finished or not."""
    from carlab.evaluate.folder import RunFolder
    from carlab.evaluate.report import render
    from carlab.evaluate.summary import Summary

    folders = [RunFolder.read(path) for path in runs]
    summaries = [Summary.of(folder, folder.ids) for folder in folders]
    if page is not None:
        from carlab.evaluate.page import write_page

        write_page(folders, summaries, page)
    typer.echo(render(summaries, form))


def datasets(
    root: Annotated[Path | None, typer.Option(help="Look here for each of them.", show_default=False)] = None,
) -> None:
    """List the data sets, their splits, where their files are looked for, and what is missing."""
    from carlab.datasets import DATASETS, load_dataset
    from carlab.errors import CarlabError

    width = max(map(len, DATASETS)) + 2
    for name, reader in DATASETS.items():
        typer.echo(f"{pad(name, width)}{reader.layout}")
        typer.echo(f"{pad('', width)}splits: {', '.join(reader.splits)}")
        for split in reader.splits if root is not None else ():
            try:
                state = f"{len(load_dataset(name, root or Path(), split))} samples"
            except CarlabError as error:
                state = f"missing: {error}"
            typer.echo(f"{pad('', width)}{split}: {state}")
