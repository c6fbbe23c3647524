"""`carlab video`: a video and queries in; masks, traces, scores over time and an MP4 out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carlab.cli import options
from carlab.cli.segment import read_queries
from carlab.errors import check_choice
from carlab.trace.show import printable

if TYPE_CHECKING:
    from carlab.video.run import Progress

UNSMOOTHED = "none"


@options.with_settings()
def video(
    clip: Annotated[Path, typer.Argument(help="A video file, or a folder of images.", show_default=False)],
    query: options.Queries = [],  # noqa: B006 - typer copies it
    queries_file: Annotated[Path | None, typer.Option(help="A text file of queries, one a line.")] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write to; an unfinished run in it goes on.")
    ] = Path("video-out"),
    every: Annotated[int, typer.Option(min=1, help="Each so many frames one is run.")] = 1,
    rate: Annotated[float, typer.Option(help="Frames a second of a folder of images.")] = 24.0,
    hold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="A query that the last frame kept stays above this share of theta, e.g. 0.5.",
        ),
    ] = None,
    carry: Annotated[
        str, typer.Option(help="Smooth masks over time: none, flow (optical flow) or features.")
    ] = UNSMOOTHED,
    traces: Annotated[bool, typer.Option(help="Keep every trace, in one file.")] = True,
    preset: options.Preset = "offline",
    proposer_backbone: options.ProposerBackbone = None,
    classifier: options.Classifier = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    together: options.Together = 4,
    **settings: Any,
) -> None:
    """Segment a video frame by frame, as in the paper; --hold and --carry smooth over time.

    It can be stopped, and the same command goes on. A frame that fails is reported, and the others are run.
    """
    from carlab.presets import load
    from carlab.queries import check_queries
    from carlab.settings import change
    from carlab.video.carry import CARRIERS, MaskSmoothing
    from carlab.video.frames import load_av, open_clip
    from carlab.video.hysteresis import Hysteresis
    from carlab.video.run import segment_video
    from carlab.video.segment import Smoothing

    queries = check_queries([*query, *read_queries(queries_file)])
    check_choice("a way to carry masks", carry, (UNSMOOTHED, *CARRIERS))
    load_av()  # before an hour of work: the MP4 is written last
    film = open_clip(clip, rate=rate, every=every)
    smoothing = Smoothing(
        None if hold is None else Hysteresis(hold),
        None if carry == UNSMOOTHED else MaskSmoothing(CARRIERS[carry]()),
    )
    many = "an unknown number of" if film.length is None else film.length
    options.announce(f"{many} frames of {printable(clip.name)}; loading {preset}")
    networks = {"proposer_backbone": proposer_backbone, "classifier": classifier}
    model = change(load(preset, **networks, device=device, dtype=dtype), **settings)
    with bars() as progress:
        done = segment_video(
            model, film, queries, out,
            smoothing=smoothing, traces=traces, together=together, progress=progress,
        )  # fmt: skip
    failures = f", {done.failed} failed" if done.failed else ""
    written = [done.video.name, done.plot.name, *([done.traces.name] if done.traces else []), "masks"]
    typer.echo(f"{len(done.frames)} frames done{failures}; {', '.join(written)} in {out}", err=True)
    for frame in done.frames:
        if "error" in frame:
            typer.echo(f"carlab: frame {frame['index']}: {printable(frame['error'])}", err=True)
    if done.failed:
        raise typer.Exit(1)


@contextmanager
def bars() -> Iterator["Progress"]:
    """Show the progress with the time that is left, as a bar on a terminal; frames done before count not."""
    from tqdm import tqdm

    shown: dict[str, Any] = {}

    def close() -> None:
        for bar in shown.values():
            bar.close()

    def progress(what: str, done: int, of: int | None) -> None:
        if what not in shown:
            close()
            shown[what] = tqdm(desc=what, total=of, initial=done, unit="frame", disable=None)
        shown[what].update(done - shown[what].n)

    try:
        yield progress
    finally:
        close()
