"""`carlab view`: a trace as one interactive page."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    trace: Annotated[Path, typer.Argument(help="A trace that carlab segment wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page; default: beside the trace.", show_default=False),
    ] = None,
) -> None:
    """Write an interactive page that works from a file, with no network and no server."""
    from carlab.figures.page import write_page
    from carlab.trace import Trace

    path = out or trace.with_name(trace.name.removesuffix(".safetensors").removesuffix(".trace") + ".html")
    typer.echo(f"{write_page(Trace.load(trace), path)}")
