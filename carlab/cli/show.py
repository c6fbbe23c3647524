"""`carlab show` and `carlab probes`: read a trace, and the table of hooks. Neither needs torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carlab.display import columns, pad, printable

if TYPE_CHECKING:
    from carlab.trace import Trace


def show(
    trace: Annotated[Path, typer.Argument(help="A file that `carlab segment` wrote.")],
    settings: Annotated[bool, typer.Option("--settings", help="Also every setting and version.")] = False,
    recorded: Annotated[bool, typer.Option("--probes", help="Also the recorded probes.")] = False,
    figures: Annotated[Path | None, typer.Option(help="Folder to draw the figures to.")] = None,
) -> None:
    """Show a saved trace: who was found, who fell when, and by how much."""
    from carlab.trace import Trace

    loaded = Trace.load(trace)
    typer.echo(str(loaded))
    if settings:
        values = {**flat(loaded.settings), **loaded.provenance}
        typer.echo("\n" + table(list(values.items())))
    if recorded:
        typer.echo("\n" + (probe_table(loaded) or "no probes recorded; use --record when segmenting"))
    if figures is not None:
        from carlab.cli.segment import make_folder
        from carlab.figures import overlay_figure, recurrence_figure, save_figure, scores_figure

        make_folder(figures)
        drawings = {"overlay": overlay_figure, "recurrence": recurrence_figure, "scores": scores_figure}
        for name, draw in drawings.items():
            typer.echo(str(save_figure(draw(loaded), figures / f"{trace.name.split('.')[0]}.{name}.png")))


def probes() -> None:
    """List every probe: what can be recorded and edited, its axes, and when it fires."""
    from carlab.probes import PROBES

    rows = [
        (name, f"({info.axes.replace(' ', ', ')})", info.when, info.meaning) for name, info in PROBES.items()
    ]
    typer.echo(table([("probe", "axes", "fires per", "what it is"), *rows]))


def probe_table(trace: "Trace") -> str:
    """Name, step, shape and statistics of everything recorded; empty if nothing was."""
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
    return table(rows)


def flat(settings: object, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names."""
    if isinstance(settings, dict):
        parts = [flat(value, f"{prefix}.{name}" if prefix else name) for name, value in settings.items()]
        return {name: value for part in parts for name, value in part.items()}
    if isinstance(settings, list) and any(isinstance(item, dict) for item in settings):
        return flat({str(number): item for number, item in enumerate(settings)}, prefix)
    return {prefix: ", ".join(map(str, settings)) if isinstance(settings, list) else str(settings)}


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in aligned columns."""
    rows = [tuple(printable(str(cell)) for cell in row) for row in rows]
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join("  ".join(pad(c, w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
