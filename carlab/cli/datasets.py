"""`carlab datasets`: what can be read, in which layout, and what is missing of it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from carlab.cli import options
from carlab.errors import DatasetError
from carlab.trace.show import text_table


def datasets(
    root: Annotated[Path | None, typer.Option(help="Look here for each of them, and count.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the data sets with their splits and layouts, or check which of them a folder holds."""
    from carlab.datasets import DATASETS

    if root is None and as_json:
        typer.echo(json.dumps({name: list(reader.splits) for name, reader in DATASETS.items()}, indent=1))
        return
    if root is None:
        rows = [(name, reader.layout, ", ".join(reader.splits)) for name, reader in DATASETS.items()]
        typer.echo(text_table(rows, ("data set", "what --root must hold", "splits")))
        return
    splits = [
        (name, split, *state(name, root, split))
        for name, reader in DATASETS.items()
        for split in reader.splits
    ]
    splits.sort(key=lambda row: row[2] is None)  # what is there comes first
    if as_json:
        head = ("dataset", "split", "images", "problem")
        typer.echo(json.dumps([dict(zip(head, row, strict=True)) for row in splits], indent=1))
        return
    shown = [(*names, problem if count is None else str(count)) for *names, count, problem in splits]
    typer.echo(text_table(shown, ("data set", "split", "images or frames")))


def state(name: str, root: Path, split: str) -> tuple[int | None, str]:
    """Return how many samples there are, or None, and what is wrong."""
    from carlab.datasets import load_dataset

    try:
        return len(load_dataset(name, root, split)), ""
    except DatasetError as error:
        return None, str(error)
