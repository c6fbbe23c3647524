"""`carlab refer`: images and referring expressions in; figures, label maps and traces out."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from carlab.cli import options
from carlab.cli.segment import json_line, opened, segment_all, text_lines


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
    from carlab.presets import load
    from carlab.settings import change
    from carlab.tasks.referring import refer_many

    paths, texts = opened(images, query, queries_file, out, preset)
    networks = {"proposer_backbone": proposer_backbone, "classifier": classifier}
    model = change(load(preset, **networks, device=device, dtype=dtype), **settings, refer=True)
    expressions: Any = [texts] if one_object else texts
    show = json_line if as_json else text_lines
    if segment_all(model, paths, expressions, out, [], figures, show, partial(refer_many, merge=merge)):
        raise typer.Exit(1)
