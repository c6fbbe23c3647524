"""`carlab figure`: a figure for a paper from saved traces or runs; no model is loaded."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from carlab.errors import SettingError

OF_RUNS = ("ablation", "classes")
"""Kinds that are drawn from folders of runs."""


class FigureWidth(StrEnum):
    """Of a figure."""

    COLUMN = "column"
    PAGE = "page"


def figure(
    kind: Annotated[
        str,
        typer.Argument(
            help="strip, prompts, pipeline, scores: of one trace; grid, postprocessors: of several; "
            "video: of the traces.zip of a video; ablation, classes: of runs."
        ),
    ],
    sources: Annotated[
        list[Path], typer.Argument(help="Traces, a video's results, or folders of runs.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .pdf, .svg or .png to write.")],
    style: Annotated[str, typer.Option(help="cvpr, neurips, springer or ieee.")] = "cvpr",
    width: Annotated[
        FigureWidth | None, typer.Option(help="column or page; default: the figure's own.")
    ] = None,
    serif: Annotated[bool, typer.Option("--serif", help="Text with serifs.")] = False,
    dark: Annotated[bool, typer.Option("--dark", help="On black, for slides.")] = False,
    dpi: Annotated[int, typer.Option(help="Of a PNG, and of pictures in it.")] = 300,
) -> None:
    """Draw a figure for a paper, with its caption beside it, as LaTeX."""
    from carlab.errors import check_choice
    from carlab.figures import STYLES, save_figure
    from carlab.files.archive import write_file

    check_choice("a style", style, STYLES)
    options: dict[str, Any] = {"style": replace(STYLES[style], serif=serif, dark=dark)}
    options |= {"width": width.value} if width else {}
    draw = from_video if kind == "video" else from_runs if kind in OF_RUNS else from_traces
    drawn, text = draw(kind, sources, options)
    save_figure(drawn, out, dpi)
    write_file(out.with_suffix(".caption.tex"), text.encode())
    typer.echo(str(out))


def from_traces(kind: str, paths: Sequence[Path], options: dict[str, Any]) -> tuple[Any, str]:
    """Return a figure of traces and its caption."""
    from carlab.figures.caption import caption
    from carlab.figures.paper import OF_METHODS, OF_ONE, draw
    from carlab.trace import Trace

    known = (*OF_ONE, *OF_METHODS, "video", *OF_RUNS)
    if kind not in known:
        raise SettingError(f"expected a figure out of {', '.join(known)}, got {kind!r}; choose one of them")
    traces = [Trace.load(path) for path in paths]
    return draw(kind, traces, **options), caption(kind, traces)


def from_video(kind: str, paths: Sequence[Path], options: dict[str, Any]) -> tuple[Any, str]:
    """Return the strip of a video, and its caption with the digest of the first frame's trace."""
    from carlab.figures import video_strip
    from carlab.figures.caption import caption
    from carlab.video.archive import open_traces

    if len(paths) != 1:
        raise SettingError(
            f"expected one video for the figure {kind!r}, got {len(paths)}; draw each by itself"
        )
    traces = open_traces(paths[0])
    return video_strip(traces, **options), caption(kind, [next(iter(traces))])


def from_runs(kind: str, paths: Sequence[Path], options: dict[str, Any]) -> tuple[Any, str]:
    """Return a figure of runs and its caption."""
    from carlab.evaluate.folder import RunFolder, run_paths
    from carlab.evaluate.report import run_names
    from carlab.evaluate.summary import Summary
    from carlab.figures import ablation_plot, class_bars
    from carlab.figures.caption import latex

    folders = [RunFolder.read(path) for path in run_paths(paths)]
    runs = [Summary.of(folder, folder.ids) for folder in folders]
    named = dict(zip(run_names(runs), runs, strict=True))
    metric, about = next(iter(runs[0].metrics)), runs[0].protocol
    if kind == "ablation":
        values = {name: tuple(run.interval(metric)) for name, run in named.items()}
        drawn = ablation_plot(values, label=metric, **options)
    else:
        drawn = class_bars({name: run.per_class() for name, run in named.items()}, **options)
    presets = dict.fromkeys(run.manifest["provenance"]["preset"] for run in runs)
    facts = f"{about.dataset} {about.split}, {len(about.images)} images, presets {', '.join(presets)}"
    return drawn, f"{latex(metric)} on {latex(facts)}.\n"
