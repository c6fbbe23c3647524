"""Options that several commands share; None leaves what the preset has."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from carlab.changes import Changes

Preset = Annotated[str, typer.Option(help="offline, offline/voc, reference/DATASET or paper/DATASET.")]
Proposer = Annotated[
    str | None, typer.Option(help='Backbone that proposes: "offline", a folder or a hub name.')
]
Classifier = Annotated[str | None, typer.Option(help="Backbone that scores, likewise.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, or float16 on a GPU.")]
Theta = Annotated[float | None, typer.Option(help="Score a query must exceed, 0 to 1.")]
Eta = Annotated[float | None, typer.Option(help="Mask threshold, 0 to 1.")]
Box = Annotated[float | None, typer.Option("--lambda", help="Box threshold, 0 to 1.")]
Prompter = Annotated[
    str | None,
    typer.Option(help="circle, contour, rectangle, blur, grey, black, crop; join several with +."),
]
Background = Annotated[
    str | None,
    typer.Option(
        help="release, all, terrestrial, aquatic-atmospheric, man-made, none, or words with commas."
    ),
]
BackgroundWeight = Annotated[float | None, typer.Option(help="Weight of the background, 0 or more.")]
Refiner = Annotated[str | None, typer.Option(help="crf or none.")]
Regions = Annotated[
    str | None,
    typer.Option(help="Match the final masks to regions: a SAM by folder or hub name, superpixels, or none."),
]
KeepBest = Annotated[
    bool | None, typer.Option("--keep-best/--no-keep-best", help="Keep the best query when none passes.")
]
Refer = Annotated[bool, typer.Option("--refer", help="Each query alone against the background.")]
MaxSteps = Annotated[int | None, typer.Option(help="Stop after so many steps; 1: no recurrence.")]
Batch = Annotated[int | None, typer.Option(help="Pictures encoded at once.")]

Root = Annotated[Path, typer.Option(help="Folder that holds the data set; see carlab datasets.")]
Split = Annotated[str | None, typer.Option(help="Part of the data set; default: its validation part.")]
Limit = Annotated[int | None, typer.Option(min=1, help="The first so many images only.")]
Together = Annotated[int, typer.Option(min=1, help="Photos in work at a time; memory grows with it.")]
Format = Annotated[str, typer.Option("--format", "-f", help="text, markdown, csv or latex.")]


def changes(given: Mapping[str, Any]) -> "Changes":
    """What of a command's options, by name, is a setting of the model."""
    from carlab.changes import Changes

    return Changes(**{field.name: given[field.name] for field in fields(Changes) if field.name in given})
