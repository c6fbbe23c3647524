"""`carlab show` and `carlab probes`: a trace as text, and the table of probes. Neither needs torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carlab.cli import options
from carlab.cli.segment import trace_record
from carlab.trace.provenance import leaves
from carlab.trace.show import text_table

if TYPE_CHECKING:
    from carlab.trace import Trace


def show(
    trace: options.TraceFile,
    settings: Annotated[bool, typer.Option("--settings", help="Also every setting and version.")] = False,
    recorded: Annotated[bool, typer.Option("--probes", help="Also the recorded probes.")] = False,
    figures: Annotated[Path | None, typer.Option(help="Folder to draw the figures to.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a saved trace: the queries found, and when and by what margin the others were dropped."""
    from carlab.trace import Trace

    loaded = Trace.load(trace)
    if as_json:
        typer.echo(json.dumps({"trace": str(trace), **trace_record(loaded)}, allow_nan=False))
        return
    typer.echo(str(loaded))
    if settings:
        rows = [*leaves(loaded.settings), *loaded.provenance.items()]
        typer.echo("\n" + text_table(rows))
    if recorded:
        typer.echo("\n" + (probe_table(loaded) or "no probes recorded; use --record when segmenting"))
    if figures is not None:
        from carlab.figures import save_figures
        from carlab.files.archive import make_folder

        for path in save_figures(loaded, make_folder(figures), trace.name.split(".")[0]):
            typer.echo(str(path))


def probes() -> None:
    """List every probe: what can be recorded and edited, its axes, and when it fires."""
    from carlab.hooks import PROBES

    rows = [
        (name, f"({info.axes.replace(' ', ', ')})", info.when, info.meaning) for name, info in PROBES.items()
    ]
    typer.echo(text_table(rows, ("probe", "axes", "fires per", "what it is")))


def probe_table(trace: "Trace") -> str:
    """Return name, step, shape and statistics of everything recorded; empty if nothing was."""
    recorded = [("image", trace.probes)]
    recorded += [(f"step {number}", step.probes) for number, step in enumerate(trace.steps, 1)]
    rows = []
    for where, values in recorded:
        for name, value in values.items():
            numbers = ""
            if value.size:
                numbers = f"min {value.min():.4g}  mean {value.mean():.4g}  max {value.max():.4g}"
            rows.append((name, where, "x".join(map(str, value.shape)), str(value.dtype), numbers))
    return text_table(rows)
