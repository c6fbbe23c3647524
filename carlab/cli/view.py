"""`carlab view`: a trace as one interactive page."""

from pathlib import Path
from typing import Annotated

import typer

from carlab.cli import options


def view(
    trace: options.TraceFile,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; default: beside the trace.")
    ] = None,
) -> None:
    """Write an interactive page that works from a file, with no network and no server."""
    from carlab.figures.page import write_page
    from carlab.trace import Trace

    path = out or trace.with_name(trace.name.removesuffix(".safetensors").removesuffix(".trace") + ".html")
    typer.echo(write_page(Trace.load(trace), path))
