"""Synthetic traces: no model, the same every time, smooth masks so that pictures look real."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from carlab.files.pictures import colour, resize_maps
from carlab.trace import Step, Trace

GRID = (6, 9)
PICTURE = 24
ETA = 0.4


def make_trace(
    queries: Sequence[str] = ("cat", "dog", "sofa"),
    *,
    kept: Sequence[Sequence[int]] = ((0, 1), (0,), (0,)),
    size: tuple[int, int] = (48, 70),
    image: np.ndarray | None = None,
    picture: int = PICTURE,
    probes: dict[str, np.ndarray] | None = None,
    theta: float = 0.3,
    scores: tuple[float, float] = (0.8, 0.12),
    seconds: Mapping[str, float] | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Trace:
    """A trace whose step t keeps the queries `kept[t]` (indices into `queries`).

    `scores` are those of a query that is kept and of one that is dropped;
    `image` replaces the synthetic photo, and its size `size`; `picture` is
    the side of the prompted images.
    """
    image = photo(len(queries), size) if image is None else image
    active, steps = np.arange(len(queries)), []
    for survivors in kept:
        stays = np.isin(active, survivors)
        probs = np.full((len(active), len(active)), 0.1, np.float32)
        np.fill_diagonal(probs, np.where(stays, *scores))
        cams = np.stack([bump(GRID, query, len(queries)) for query in active])
        masks = np.sqrt(cams)
        pictures = np.stack([prompt(image, mask, picture) for mask in masks])
        steps.append(Step(active, cams, masks, pictures, probs, stays, dict(probes or {}), {"propose": 0.25}))
        active = active[stays]
    return Trace(
        image=image,
        queries=tuple(queries),
        background=("sky",),
        steps=tuple(steps),
        refined=resize_maps(steps[-1].masks[steps[-1].kept], *image.shape[:2]) > ETA,
        stop=stop(steps[-1].kept),
        settings={"filter": {"stage": "Threshold", "theta": theta}, "mask_threshold": ETA},
        provenance={
            "preset": "synthetic",
            "proposer.backbone": "toy, not CLIP",
            "classifier.backbone": "toy, not CLIP",
        }
        if provenance is None
        else dict(provenance),
        probes=dict(probes or {}),
        seconds=dict(seconds or {}),
        passes={"trunk": 1, "vjp": len(queries) + 1},
    )


def stop(kept: np.ndarray) -> str:
    """Why a loop ends whose last step kept these."""
    return "nothing present" if not kept.any() else "fixed point" if kept.all() else "step limit"


def bump(grid: tuple[int, int], query: int, of: int) -> np.ndarray:
    """A round bump that lies further right for each query, with its top at 1."""
    rows, columns = np.mgrid[: grid[0], : grid[1]]
    centre = grid[1] * (query + 0.5) / of - 0.5
    heights = np.exp(-((rows - (grid[0] - 1) / 2) ** 2 + (columns - centre) ** 2) / 3)
    return (heights / heights.max()).astype(np.float32)


def photo(things: int, size: tuple[int, int]) -> np.ndarray:
    """A soft ground with a ball of its own colour where each of the first ten masks lies, (h, w, 3)."""
    shade = np.linspace(90, 190, size[0])[:, None, None] * np.array([0.9, 1.0, 1.05])
    picture = np.broadcast_to(shade, (*size, 3)).astype(np.float32)
    for thing in range(min(things, 10)):
        ball = resize_maps(bump(GRID, thing, things)[None], *size)[0][..., None] > 0.3
        tint = np.array(colour((thing + 4) % 7), np.float32)
        picture = np.where(ball, 0.8 * tint + 0.2 * picture, picture)
    return picture.round().clip(0, 255).astype(np.uint8)


def prompt(image: np.ndarray, mask: np.ndarray, side: int) -> np.ndarray:
    """The photo squashed to a square and darkened outside the mask, (side, side, 3)."""
    square: Any = np.asarray(Image.fromarray(image).resize((side, side)))
    weight = 0.25 + 0.75 * (resize_maps(mask[None], side, side)[0][..., None] > ETA)
    return (square * weight).round().astype(np.uint8)
