"""`carlab refer`: images and referring expressions in; figures, label maps and traces out."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from carlab.cli import options
from carlab.cli.segment import json_line, read_queries, segment_all, text_lines
from carlab.trace.show import printable


@options.with_settings("refer")
def refer(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", show_default=False)],
    query: options.Queries = [],  # noqa: B006 - typer copies it
    queries_file: Annotated[Path | None, typer.Option(help="A text file of expressions, one a line.")] = None,
    one_object: Annotated[
        bool,
        typer.Option(
            "--one-object", help="All expressions are of one object; merge their masks, as released."
        ),
    ] = False,
    merge: Annotated[bool, typer.Option(help="With --one-object: one mask, or one an expression.")] = True,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("out"),
    preset: options.Preset = "offline",
    proposer_backbone: options.ProposerBackbone = None,
    classifier: options.Classifier = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    figures: Annotated[bool, typer.Option(help="Write overlay and recurrence figures.")] = True,
    as_json: options.AsJson = False,
    **settings: Any,
) -> None:
    """Find what expressions such as "the man in the red shirt" refer to: each against the background alone.

    Without --one-object each expression is an object, and has a run and a mask of its own.
    """
    from carlab.files.archive import make_folder
    from carlab.files.images import list_images, skipped_media
    from carlab.presets import load
    from carlab.queries import check_queries
    from carlab.settings import change
    from carlab.tasks.referring import refer_many

    paths = list_images(images)
    for path in skipped_media(images):
        typer.echo(f"carlab: skipped {printable(str(path))}: no still image that can be read here", err=True)
    texts = check_queries([*query, *read_queries(queries_file)])
    make_folder(out)
    options.announce(f"loading {preset}, {len(paths)} image{'s' if len(paths) != 1 else ''} to search")
    loaded = load(
        preset,
        proposer_backbone=proposer_backbone,
        classifier=classifier,
        device=device,
        dtype=dtype,
    )
    model = change(loaded, **settings, refer=True)
    expressions: Any = [texts] if one_object else texts
    show = json_line if as_json else text_lines
    if segment_all(model, paths, expressions, out, [], figures, show, partial(refer_many, merge=merge)):
        raise typer.Exit(1)
