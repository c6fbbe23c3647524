"""Options that several commands share; those of the settings table are added by `with_settings`."""

from collections.abc import Callable
from inspect import Parameter, signature
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carlab.cli.threads import use_threads

if TYPE_CHECKING:
    from carlab.settings import Setting

TraceFile = Annotated[Path, typer.Argument(help="A trace that `carlab segment` wrote.", show_default=False)]
Queries = Annotated[
    list[str], typer.Option("--query", "-q", help="What to look for; repeat it.", show_default=False)
]
Preset = Annotated[str, typer.Option(help="offline, offline/voc, reference/DATASET or paper/DATASET.")]
ProposerBackbone = Annotated[
    str | None, typer.Option(help='Network of the proposer: "offline", a folder or a hub name.')
]
Classifier = Annotated[str | None, typer.Option(help="Network that scores, likewise.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, or float16 on a GPU.")]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=use_threads,
        help="Threads to compute on, shared by all workers; default: the cores there are.",
    ),
]
"""Acts while it is parsed: no command that has it reads it."""

Data = Annotated[str, typer.Argument(help="voc21, coco-object, ...; see carlab datasets.")]
Root = Annotated[Path, typer.Option(help="Folder that holds the data set; see carlab datasets.")]
Split = Annotated[str | None, typer.Option(help="Part of the data set; default: its validation part.")]
Limit = Annotated[int | None, typer.Option(min=1, help="The first so many images only.")]
EngineName = Annotated[str, typer.Option(help="local, or ray for many machines.")]
Workers = Annotated[int, typer.Option(min=0, help="local: processes for the CRF; ray: models.")]
Together = Annotated[int, typer.Option(min=1, help="Images in lock-step; memory grows with it.")]
Gpus = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="ray: share of a GPU for each worker; 0.5 puts two on one. 1 with --device cuda."
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="ray: a running cluster, auto or HOST:6379; else RAY_ADDRESS, or one is started here."),
]
TableFormat = Annotated[str, typer.Option("--format", "-f", help="text, markdown, csv, latex or json.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def announce(what: str) -> None:
    """Print what takes seconds before it begins, to standard error: importing torch alone takes some."""
    typer.echo(f"carlab: {what} ...", err=True)


def with_settings(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option for every row of `carlab.settings.SETTINGS` to a command that takes `**settings`.

    An option that is left out is None, and keeps what the preset has.
    """
    from carlab.settings import SETTINGS

    options = {row.key: _option(row) for row in SETTINGS.values() if row.name not in left_out}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = signature(command)
        parts = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        parts += [
            Parameter(key, Parameter.KEYWORD_ONLY, default=None, annotation=option)
            for key, option in options.items()
        ]
        command.__signature__ = own.replace(parameters=parts)  # type: ignore[attr-defined]
        return command

    return decorate


def _option(row: "Setting") -> Any:
    """Return the type of a setting's option; its help has the range or the choices."""
    flag, text = f"--{row.name.replace('_', '-')}", row.meaning
    if row.choices:
        text += f" {', '.join(row.choices)}."
    elif row.kind is not bool:
        text += f" {row.low:g}{' or more' if row.high == inf else f' to {row.high:g}'}."
    elif row.name != "refer":
        flag += f"/--no-{flag.removeprefix('--')}"
    return Annotated[row.kind | None, typer.Option(flag, help=text)]
