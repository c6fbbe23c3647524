"""`carlab segment`: images and queries in; figures, label maps and traces out."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carlab.cli import options
from carlab.errors import ComputeError, ImageError, QueryError, quoted, reason
from carlab.trace.show import printable

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn
    from carlab.trace import Trace


@options.with_settings()
def segment_images(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", show_default=False)],
    query: options.Queries = [],  # noqa: B006 - typer copies it
    queries_file: Annotated[Path | None, typer.Option(help="A text file of queries, one a line.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("out"),
    preset: options.Preset = "offline",
    proposer_backbone: options.ProposerBackbone = None,
    classifier: options.Classifier = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    record: Annotated[
        list[str],
        typer.Option(help='Probes to keep in the trace, e.g. "cam.*"; repeat it.', show_default=False),
    ] = [],  # noqa: B006 - typer copies it
    figures: Annotated[bool, typer.Option(help="Write overlay and recurrence figures.")] = True,
    as_json: options.AsJson = False,
    **settings: Any,
) -> None:
    """Segment images by queries; a bad image is reported, and the others are run.

    With --json a line of JSON for each image that could be read.
    """
    from carlab.hooks import check_patterns
    from carlab.presets import load
    from carlab.settings import change

    check_patterns(tuple(record))
    paths, queries = opened(images, query, queries_file, out, preset)
    networks = {"proposer_backbone": proposer_backbone, "classifier": classifier}
    model = load(preset, **networks, device=device, dtype=dtype)
    show = json_line if as_json else text_lines
    if segment_all(change(model, **settings), paths, queries, out, record, figures, show):
        raise typer.Exit(1)


def opened(
    images: Sequence[Path], query: Sequence[str], queries_file: Path | None, out: Path, preset: str
) -> tuple[list[Path], tuple[str, ...]]:
    """Return the images and the queries of a command, and make its folder, before a model is loaded."""
    from carlab.files.archive import make_folder
    from carlab.files.images import list_images, skipped_media
    from carlab.queries import check_queries

    paths = list_images(images)
    for path in skipped_media(images):
        typer.echo(f"carlab: skipped {printable(str(path))}: no still image that can be read here", err=True)
    queries = check_queries([*query, *read_queries(queries_file)])
    make_folder(out)
    options.announce(f"loading {preset}, {len(paths)} image{'s' if len(paths) != 1 else ''} to segment")
    return paths, queries


def text_lines(path: Path, trace: "Trace") -> str:
    """Return the path and the table of a trace, for people."""
    return f"{printable(str(path))}\n{trace}\n"


def json_line(path: Path, trace: "Trace") -> str:
    """Return one line of JSON, for machines."""
    return json.dumps({"image": str(path), **trace_record(trace)}, allow_nan=False)


def trace_record(trace: "Trace") -> dict[str, Any]:
    """Return what a trace says, as JSON values."""
    facts = {"found": list(trace.found), "stop": trace.stop, "steps": len(trace.steps)}
    return {
        **facts,
        "preset": trace.provenance.get("preset"),
        "notes": list(trace.notes),
        "queries": trace.to_records(),
        "seconds": dict(trace.seconds),
        "passes": dict(trace.passes),
    }


def segment_all(
    model: "ClipAsRnn",
    paths: list[Path],
    queries: Sequence[Any],
    out: Path,
    record: list[str],
    figures: bool,
    show: "Callable[[Path, Trace], str]" = text_lines,
    run: Callable[..., Any] | None = None,
) -> int:
    """Run every image, print what `show` makes of each, and return how many failed.

    `run` is called in the place of `carlab.batch.traces_of`.
    """
    from tqdm import tqdm

    from carlab.batch import traces_of
    from carlab.hooks import record as recording

    failed, several = 0, len(paths) > 1
    with recording(*record), nullcontext() if several else stage_bar():
        # A process for the CRF is worth its start only beside a model that runs on other images.
        results = (run or traces_of)(model, paths, queries, workers=int(several))
        shown = tqdm(results, total=len(paths), unit="image", disable=None if several else True)
        for path, stem, result in zip(paths, stems(paths), shown, strict=True):
            if isinstance(result, ImageError | ComputeError):
                failed += 1
                report_failure(path, result)
                continue
            tqdm.write(show(path, result))
            write(result, out, stem, figures)
    done = len(paths) - failed
    failures = f", {failed} failed" if failed else ""
    typer.echo(f"{done} image{'s' if done != 1 else ''} done{failures}; results in {out}", err=True)
    return failed


def report_failure(image: object, error: object) -> None:
    """Print why an image failed."""
    report_line(f"{image}: {error}")


def report_line(text: str) -> None:
    """Print one line above the progress bar."""
    from tqdm import tqdm

    tqdm.write(f"carlab: {printable(text)}", file=typer.get_text_stream("stderr"))


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
    from carlab.files.archive import write_file

    trace.save(out / f"{stem}.trace.safetensors")
    write_file(out / f"{stem}.labels.png", trace.label_png())
    if figures:
        from carlab.figures import save_figures

        save_figures(trace, out, stem, ("overlay", "recurrence"))


def stems(paths: Sequence[Path]) -> list[str]:
    """Return a file name for each image: its stem, with a number where two are the same."""
    names: dict[str, str] = {}
    for path in paths:
        name = next(name for name in numbered(path.stem) if name.casefold() not in names)
        names[name.casefold()] = name
    return list(names.values())


def numbered(stem: str) -> Iterator[str]:
    """Yield file names to choose from: cat, cat-2, cat-3, ..."""
    yield stem
    yield from (f"{stem}-{number}" for number in count(2))


def read_queries(path: Path | None) -> list[str]:
    """Return the lines of a text file that are not blank; QueryError if it is not UTF-8 text."""
    from carlab.files.opening import read_file

    if path is None:
        return []
    try:
        return [line for line in read_file(path).decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"expected a text file of queries, got {quoted(path)} ({reason(error)}); "
            "write one query a line, in UTF-8"
        ) from error
