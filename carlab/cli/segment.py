"""`carlab segment`: images and queries in; pictures, label maps and traces out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carlab.cli import options
from carlab.errors import CarlabError, ImageError, QueryError
from carlab.trace.show import printable

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn
    from carlab.trace import Trace


@options.with_settings()
def segment(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", show_default=False)],
    query: Annotated[
        list[str], typer.Option("--query", "-q", help="What to look for; repeat it.", show_default=False)
    ] = [],  # noqa: B006 - typer copies it
    queries_file: Annotated[Path | None, typer.Option(help="A text file of queries, one a line.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("out"),
    preset: options.Preset = "offline",
    proposer: options.Proposer = None,
    classifier: options.Classifier = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    record: Annotated[
        list[str],
        typer.Option(help='Probes to keep in the trace, e.g. "cam.*"; repeat it.', show_default=False),
    ] = [],  # noqa: B006 - typer copies it
    figures: Annotated[bool, typer.Option(help="Write overlay and recurrence figures.")] = True,
    **settings: Any,
) -> None:
    """Segment images by queries; a bad image is reported, and the others go on."""
    from carlab.files.archive import make_folder
    from carlab.files.images import list_images
    from carlab.hooks import check_patterns
    from carlab.presets import load
    from carlab.queries import check_queries
    from carlab.settings import change

    paths = list_images(images)
    names = check_queries([*query, *read_queries(queries_file)])
    check_patterns(tuple(record))
    make_folder(out)
    model = load(preset, proposer=proposer, classifier=classifier, device=device, dtype=dtype)
    failed = segment_all(change(model, **settings), paths, names, out, record, figures)
    if failed:
        raise typer.Exit(1)


def segment_all(
    model: "ClipAsRnn", paths: list[Path], names: Sequence[str], out: Path, record: list[str], figures: bool
) -> int:
    """Run every image; return how many failed."""
    from tqdm import tqdm

    from carlab.batch import Job, run_many
    from carlab.hooks import record as recording

    failed = 0
    several = len(paths) > 1
    with recording(*record), nullcontext() if several else stage_bar():
        # A process for the CRF is worth its start only beside a model that goes on.
        results = run_many(model, (Job(path, names) for path in paths), workers=int(several))
        shown = tqdm(results, total=len(paths), unit="image", disable=None if several else True)
        for path, stem, result in zip(paths, stems(paths), shown, strict=True):
            if isinstance(result, ImageError):
                failed += 1
                tqdm.write(
                    f"carlab: {printable(str(path))}: {printable(str(result))}",
                    file=typer.get_text_stream("stderr"),
                )
                continue
            if isinstance(result, CarlabError):  # of the queries or the model: it would fail every image
                raise result
            (trace,) = result
            tqdm.write(f"{printable(str(path))}\n{trace}\n")
            write(trace, out, stem, figures)
    done = len(paths) - failed
    count = f"{done} image{'s' if done != 1 else ''} done" + (f", {failed} failed" if failed else "")
    typer.echo(f"{count}; results in {out}", err=True)
    return failed


@contextmanager
def stage_bar() -> Iterator[None]:
    """Show the progress of one run as a bar on a terminal: SAM takes minutes on a CPU."""
    from tqdm import tqdm

    from carlab.hooks import watching

    shape = "{desc}{bar} {n}/{total}"
    with tqdm(desc="trunk", total=1, leave=False, disable=None, bar_format=shape) as bar:

        def update(stage: str, done: int, of: int) -> None:
            bar.total, bar.n = of, done
            bar.set_description(stage)

        with watching(update):
            yield


def write(trace: "Trace", out: Path, stem: str, figures: bool) -> None:
    """Write the trace, the label map and the figures of one image, each whole or not at all."""
    import numpy as np

    from carlab.files.archive import write_file
    from carlab.files.pictures import encoded

    trace.save(out / f"{stem}.trace.safetensors")
    labels = trace.labels.astype(np.uint8 if len(trace.queries) < 256 else np.uint16)
    write_file(out / f"{stem}.labels.png", encoded(labels))
    if figures:
        from carlab.figures import save_figures

        save_figures(trace, out, stem, ("overlay", "recurrence"))


def stems(paths: Sequence[Path]) -> list[str]:
    """Return a file name for each image: its stem, with a number where two are the same."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, number = path.stem, 2
        while name.casefold() in taken:
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def read_queries(path: Path | None) -> list[str]:
    """Return the lines of a text file that are not blank.

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
