"""`carlab datasets`: what can be read, in which layout, and what is missing of it."""

from pathlib import Path
from typing import Annotated

import typer

from carlab.errors import DatasetError
from carlab.trace.show import text_table


def datasets(
    root: Annotated[Path | None, typer.Option(help="Look here for each of them, and count.")] = None,
) -> None:
    """List the data sets with their splits and layouts, or check which of them a folder holds."""
    from carlab.datasets import DATASETS

    if root is None:
        rows = [(name, reader.layout, ", ".join(reader.splits)) for name, reader in DATASETS.items()]
        typer.echo(text_table(rows, ("data set", "what --root must hold", "splits")))
        return
    rows = [
        (name, split, state(name, root, split))
        for name, reader in DATASETS.items()
        for split in reader.splits
    ]
    typer.echo(text_table(rows, ("data set", "split", "images or frames")))


def state(name: str, root: Path, split: str) -> str:
    """Return how many samples there are, or what is wrong."""
    from carlab.datasets import load_dataset

    try:
        return str(len(load_dataset(name, root, split)))
    except DatasetError as error:
        return str(error)
