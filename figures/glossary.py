"""eta and lambda, by what they do to one image; for docs/glossary.md. theta is in `studies.py`."""

import numpy as np
from matplotlib.figure import Figure

from carlab.figures.grid import SIDE, Cell, picture_grid
from carlab.figures.layers import mask_threshold
from carlab.figures.print_style import STYLES, heat
from carlab.files.pictures import edge, paint, paint_maps, resize, resize_maps, shrink
from carlab.files.shapes import Image
from carlab.stages.affinity import Affinity
from carlab.trace import Step, Trace
from figures.scenes import trace

ETAS = (0.15, 0.3, 0.45, 0.6, 0.75)
LAMBDAS = (0.2, 0.5, 0.8)


def draw() -> dict[str, Figure]:
    """Return the figures by the names of their files."""
    return {"eta": _etas(trace("chelsea")), "lambda": _lambdas()}


def _etas(shown: Trace) -> Figure:
    """Return one soft mask, and its cut at each eta."""
    image, mask = shrink(shown.image, SIDE), shown.steps[0].masks[0]
    soft = resize_maps(mask[None], *image.shape[:2])
    cells = [Cell(paint_maps((0.8 * image).astype(np.uint8), soft, [0], 0.85))]
    cells += [Cell(paint(image, (soft[0] > eta).astype(np.int64))) for eta in ETAS]
    own = mask_threshold(shown)
    names = ["soft mask", *(f"η = {eta:g}{' (preset)' if eta == own else ''}" for eta in ETAS)]
    return picture_grid([cells], style=STYLES["cvpr"], column_names=names).figure


def _lambdas() -> Figure:
    """Return the boxes of one activation map, and the soft mask that they give, for each lambda."""
    runs = [trace("coffee", box=box) for box in LAMBDAS]
    image = shrink(runs[0].image, SIDE)
    rows = [
        [Cell(_boxed(image, run.steps[0], box)) for run, box in zip(runs, LAMBDAS, strict=True)],
        [Cell(_masked(image, run.steps[0], mask_threshold(run))) for run in runs],
    ]
    names = [f"λ = {box:g}{' (preset)' if box == LAMBDAS[0] else ''}" for box in LAMBDAS]
    return picture_grid(
        rows, style=STYLES["cvpr"], width="column", row_names=["map, boxes", "soft mask"], column_names=names
    ).figure


def _boxed(image: Image, step: Step, box: float) -> Image:
    """Return the activation map of the first query, with a white line around its boxes."""
    shown = heat(image, step.cams[0])
    inside = resize(Affinity(box).boxes(step.cams[0]).astype(np.uint8), *image.shape[:2], "nearest")
    shown[edge(inside > 0)] = 255
    return shown


def _masked(image: Image, step: Step, eta: float) -> Image:
    soft = resize_maps(step.masks[:1], *image.shape[:2])
    shown = paint_maps((0.8 * image).astype(np.uint8), soft, [0], 0.75)
    shown[edge(soft[0] > eta)] = 255
    return shown
