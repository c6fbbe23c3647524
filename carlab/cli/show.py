"""`carlab show` and `carlab probes`: read a trace, and the table of probes. Neither needs torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carlab.trace.show import text_table

if TYPE_CHECKING:
    from carlab.trace import Trace


def show(
    trace: Annotated[Path, typer.Argument(help="A file that `carlab segment` wrote.")],
    settings: Annotated[bool, typer.Option("--settings", help="Also every setting and version.")] = False,
    recorded: Annotated[bool, typer.Option("--probes", help="Also the recorded probes.")] = False,
    figures: Annotated[Path | None, typer.Option(help="Folder to draw the figures to.")] = None,
) -> None:
    """Show a saved trace: the queries found, and when and by what margin the others were dropped."""
    from carlab.trace import Trace

    loaded = Trace.load(trace)
    typer.echo(str(loaded))
    if settings:
        values = {**flat(loaded.settings), **loaded.provenance}
        typer.echo("\n" + text_table(list(values.items())))
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
    rows = []
    for where, values in (
        ("image", trace.probes),
        *((f"step {t + 1}", s.probes) for t, s in enumerate(trace.steps)),
    ):
        for name, value in values.items():
            numbers = (
                f"min {value.min():.4g}  mean {value.mean():.4g}  max {value.max():.4g}" if value.size else ""
            )
            rows.append((name, where, "x".join(map(str, value.shape)), str(value.dtype), numbers))
    return text_table(rows)


def flat(settings: object, prefix: str = "") -> dict[str, str]:
    """Return nested settings by dotted name, as text."""
    if isinstance(settings, dict):
        parts = [flat(value, f"{prefix}.{name}" if prefix else name) for name, value in settings.items()]
        return {name: value for part in parts for name, value in part.items()}
    if isinstance(settings, list) and any(isinstance(item, dict) for item in settings):
        return flat({str(number): item for number, item in enumerate(settings)}, prefix)
    return {prefix: ", ".join(map(str, settings)) if isinstance(settings, list) else str(settings)}
