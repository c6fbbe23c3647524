"""Options that several commands share; those of the settings table are added by `with_settings`."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

Preset = Annotated[str, typer.Option(help="offline, offline/voc, reference/DATASET or paper/DATASET.")]
Proposer = Annotated[
    str | None, typer.Option(help='Backbone that proposes: "offline", a folder or a hub name.')
]
Classifier = Annotated[str | None, typer.Option(help="Backbone that scores, likewise.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, or float16 on a GPU.")]

Root = Annotated[Path, typer.Option(help="Folder that holds the data set; see carlab datasets.")]
Split = Annotated[str | None, typer.Option(help="Part of the data set; default: its validation part.")]
Limit = Annotated[int | None, typer.Option(min=1, help="The first so many images only.")]
Together = Annotated[int, typer.Option(min=1, help="Images in lock-step; memory grows with it.")]
TableFormat = Annotated[str, typer.Option("--format", "-f", help="text, markdown, csv or latex.")]


def with_settings(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option for every row of `carlab.settings.SETTINGS` to a command that takes `**settings`.

    An option that is not given is None, and leaves what the preset has.
    """
    from carlab.settings import SETTINGS

    rows = [row for row in SETTINGS.values() if row.name not in left_out]
    options = {
        row.key: Annotated[row.kind | None, typer.Option(*_flags(row), help=_help(row))] for row in rows
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapper(**given: Any) -> None:
            command(**given)

        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
            for key, option in options.items()
        ]
        wrapper.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {**command.__annotations__, **options}
        return wrapper

    return decorate


def _flags(row: Any) -> tuple[str, ...]:
    flag = f"--{row.name.replace('_', '-')}"
    if row.kind is bool and row.name != "refer":
        return (f"{flag}/--no-{flag[2:]}",)
    return (flag,)


def _help(row: Any) -> str:
    """The row's sentence with its range or choices."""
    if row.choices:
        return f"{row.meaning} {', '.join(row.choices)}."
    if row.kind is bool:
        return str(row.meaning)
    high = " or more" if row.high == float("inf") else f" to {row.high:g}"
    return f"{row.meaning} {row.low:g}{high}."
