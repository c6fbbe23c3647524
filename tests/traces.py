"""Synthetic traces: no model, the same every time, smooth masks so that pictures look real."""

from collections.abc import Sequence

import numpy as np

from carlab.trace import Step, Trace


def make_trace(
    queries: Sequence[str] = ("cat", "dog", "sofa"),
    *,
    kept: Sequence[Sequence[int]] = ((0, 1), (0,), (0,)),
    size: tuple[int, int] = (48, 70),
    probes: dict[str, np.ndarray] | None = None,
    theta: float = 0.3,
) -> Trace:
    """A trace whose step t keeps the queries `kept[t]` (indices into `queries`)."""
    rng = np.random.default_rng(0)
    grid, active, steps = (6, 9), np.arange(len(queries)), []
    for survivors in kept:
        stays = np.isin(active, survivors)
        probs = np.full((len(active), len(active)), 0.1, np.float32)
        np.fill_diagonal(probs, np.where(stays, 0.8, 0.12))
        cams = np.stack([bump(grid, query, len(queries)) for query in active])
        pictures = rng.integers(0, 256, (len(active), 24, 24, 3), dtype=np.uint8)
        steps.append(
            Step(active, cams, np.sqrt(cams), pictures, probs, stays, dict(probes or {}), {"propose": 0.25})
        )
        active = active[stays]
    image = np.repeat(rng.integers(40, 200, (*size, 1), dtype=np.uint8), 3, axis=2)
    refined = np.zeros((len(active), *size), bool)
    for region, query in zip(refined, active, strict=True):
        middle = size[1] * (query + 0.5) / len(queries)
        region[size[0] // 4 : -1, int(max(0, middle - 12)) : int(middle + 12)] = True
    stop = "fixed point" if len(active) and steps[-1].kept.all() else "nothing present"
    return Trace(
        image=image,
        queries=tuple(queries),
        background=("sky",),
        steps=tuple(steps),
        refined=refined,
        stop=stop if stop == "nothing present" or steps[-1].kept.all() else "step limit",
        settings={"filter": {"stage": "Threshold", "theta": theta}, "mask_threshold": 0.4},
        provenance={
            "preset": "synthetic",
            "proposer.backbone": "toy, not CLIP",
            "classifier.backbone": "toy, not CLIP",
        },
        probes=dict(probes or {}),
        seconds={"trunk": 0.5},
        passes={"trunk": 1, "vjp": len(queries) + 1},
    )


def bump(grid: tuple[int, int], query: int, of: int) -> np.ndarray:
    """A round bump that lies further right for each query."""
    rows, columns = np.mgrid[: grid[0], : grid[1]]
    centre = grid[1] * (query + 0.5) / of
    return np.exp(-((rows - grid[0] / 2) ** 2 + (columns - centre) ** 2) / 3).astype(np.float32)
