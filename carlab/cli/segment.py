"""`carlab segment`: photos and words in; pictures, label maps and traces out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carlab.cli import options
from carlab.display import printable
from carlab.errors import CarlabError, ImageError, QueryError, TraceError

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn
    from carlab.trace import Trace


def segment(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.", show_default=False)],
    query: Annotated[
        list[str], typer.Option("--query", "-q", help="What to look for; repeat it.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    queries_file: Annotated[Path | None, typer.Option(help="A text file of queries, one a line.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("out"),
    preset: options.Preset = "offline",
    proposer: options.Proposer = None,
    classifier: options.Classifier = None,
    theta: options.Theta = None,
    eta: options.Eta = None,
    box: options.Box = None,
    prompter: options.Prompter = None,
    background: options.Background = None,
    background_weight: options.BackgroundWeight = None,
    refiner: options.Refiner = None,
    regions: options.Regions = None,
    keep_best: options.KeepBest = None,
    refer: options.Refer = False,
    max_steps: options.MaxSteps = None,
    batch: options.Batch = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    record: Annotated[
        list[str],
        typer.Option(help='Probes to keep in the trace, e.g. "cam.*"; repeat it.', show_default=False),
    ] = [],  # noqa: B006 - typer copies it
    figures: Annotated[bool, typer.Option(help="Write overlay and recurrence figures.")] = True,
) -> None:
    """Segment photos with words; a bad photo is reported, and the others go on."""
    from carlab.images import list_images
    from carlab.presets import load
    from carlab.probes import check_patterns
    from carlab.queries import check_queries

    paths = list_images(photos)
    names = check_queries([*query, *read_lines(queries_file)])
    check_patterns(tuple(record))
    make_folder(out)
    changes = options.changes(locals())
    model = changes.apply(load(preset, proposer=proposer, classifier=classifier, device=device, dtype=dtype))
    failed = segment_all(model, paths, names, out, record, figures)
    if failed:
        raise typer.Exit(1)


def segment_all(
    model: "ClipAsRnn", paths: list[Path], names: Sequence[str], out: Path, record: list[str], figures: bool
) -> int:
    """Run every photo; return how many failed."""
    from tqdm import tqdm

    from carlab.many import Job, run_many
    from carlab.probes import record as recording

    failed = 0
    several = len(paths) > 1
    with recording(*record), nullcontext() if several else stage_bar():
        # A process for the CRF is worth its start only beside a model that goes on.
        results = run_many(model, (Job(path, names) for path in paths), workers=int(several))
        shown = tqdm(results, total=len(paths), unit="photo", disable=None if several else True)
        for path, stem, result in zip(paths, stems(paths), shown, strict=True):
            if isinstance(result, ImageError):
                failed += 1
                tqdm.write(
                    f"carlab: {printable(str(path))}: {printable(str(result))}",
                    file=typer.get_text_stream("stderr"),
                )
                continue
            if isinstance(result, CarlabError):  # of the words or the model: it would fail every photo
                raise result
            (trace,) = result
            tqdm.write(f"{printable(str(path))}\n{trace}\n")
            write(trace, out, stem, figures)
    summary = f"{len(paths) - failed} photo{'s' if len(paths) - failed != 1 else ''} done"
    typer.echo(
        f"{summary}, {failed} failed; results in {out}" if failed else f"{summary}; results in {out}",
        err=True,
    )
    return failed


@contextmanager
def stage_bar() -> Iterator[None]:
    """On a terminal, a bar that says what a run is at, and how far: SAM takes minutes on a CPU."""
    from tqdm import tqdm

    from carlab.progress import watching

    shape = "{desc}{bar} {n}/{total}"
    with tqdm(desc="trunk", total=1, leave=False, disable=None, bar_format=shape) as bar:

        def tell(stage: str, done: int, of: int) -> None:
            bar.total, bar.n = of, done
            bar.set_description(stage)

        with watching(tell):
            yield


def write(trace: "Trace", out: Path, stem: str, figures: bool) -> None:
    """Write the trace, the label map and the figures of one photo, each whole or not at all."""
    import numpy as np

    from carlab.archive import write_file
    from carlab.display import png

    trace.save(out / f"{stem}.trace.safetensors")
    labels = trace.labels.astype(np.uint8 if len(trace.queries) < 256 else np.uint16)
    write_file(out / f"{stem}.labels.png", png(labels))
    if figures:
        from carlab.figures import overlay_figure, recurrence_figure, save_figure

        save_figure(overlay_figure(trace), out / f"{stem}.overlay.png")
        save_figure(recurrence_figure(trace), out / f"{stem}.recurrence.png")


def stems(paths: Sequence[Path]) -> list[str]:
    """A file name for each photo: its stem, with a number where two are the same."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, number = path.stem, 2
        while name.casefold() in taken:
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def read_lines(path: Path | None) -> list[str]:
    """Lines of a text file that are not blank.

    Raises
    ------
    QueryError
        If it cannot be read as UTF-8 text.
    """
    if path is None:
        return []
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"expected a text file of queries, got {str(path)!r} ({error}); write one query a line, in UTF-8"
        ) from error


def make_folder(out: Path) -> None:
    """Create the output folder, and see that it can be written, before any work is done.

    Raises
    ------
    TraceError
        If it cannot.
    """
    from carlab.archive import write_file

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TraceError(
            f"expected a folder that can be written, got {str(out)!r} ({error.strerror}); "
            "choose another --out"
        ) from error
    write_file(out / ".carlab-can-write", b"").unlink()
