"""DAVIS frame by frame and smoothed over time: J&F, and the flicker rate, with intervals over videos.

Usage: `python -m benchmarks.video DATA [PRESET]`. The queries are the names of all videos, which compete; the
one that is scored is the video's own. Masks are smoothed after the run: with and without hysteresis, one run
serves every carrier.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from carlab.datasets import load_dataset
from carlab.errors import CarlabError
from carlab.hooks import record
from carlab.metrics.intervals import Interval, Terms, interval, paired_interval, shown
from carlab.metrics.video import boundary_accuracy, flicker, region_similarity
from carlab.presets import load
from carlab.trace import Trace
from carlab.video.carry import FeatureMatch, MaskSmoothing, Memory, OpticalFlow, View
from carlab.video.frames import Frame
from carlab.video.hysteresis import Hysteresis
from carlab.video.segment import TOKENS, Smoothing, segment_frames

QUERIES = {"each frame by itself": None, "hysteresis": Hysteresis()}
MASKS = {
    "": None,
    ", optical flow": MaskSmoothing(OpticalFlow()),
    ", features": MaskSmoothing(FeatureMatch()),
}
SCORES = ("J&F", "J", "F", "flicker rate")


@dataclass
class Scored:
    """Of one way to run: for each video the numerator and denominator of each of `SCORES`."""

    rows: list[list[tuple[float, float]]] = field(default_factory=list)

    def add(self, j: Sequence[float], f: Sequence[float], kept: Sequence[Sequence[int]]) -> None:
        """Add a video: its frames' scores, and what each keeps."""
        both = (np.mean(j) + np.mean(f)) / 2
        self.rows.append([(float(both), 1), (float(np.mean(j)), 1), (float(np.mean(f)), 1), flicker(kept)])

    def terms(self, name: str) -> Terms:
        """Return one score as the ratio of two sums over videos."""
        above, below = np.array(self.rows, dtype=float)[:, SCORES.index(name)].T
        return Terms(above[:, None], below[:, None], below[:, None] > 0, np.array([True]))


def measure(data: Path, preset: str) -> dict[str, Scored]:
    """Run every video in every way."""
    dataset = load_dataset("davis16-distractors", data, "all")
    model = load(preset)
    found = {queries + masks: Scored() for queries in QUERIES for masks in MASKS}
    for video, ids in groupby(dataset.ids, lambda one: one.partition("/")[0]):
        samples = [dataset[list(dataset.ids).index(one)] for one in ids]
        names = sorted({*samples[0].expressions, *samples[0].distractors})
        own, truths = names.index(samples[0].expressions[0]), [sample.truth()[0] for sample in samples]
        sys.stderr.write(f"{video}: {len(samples)} frames\n")
        for queries, smoothing in QUERIES.items():
            frames = [Frame(k, float(k), sample.image) for k, sample in enumerate(samples)]
            with record(TOKENS):
                results = segment_frames(model, frames, names, smoothing=Smoothing(smoothing))
                traces = [whole(one.trace) for one in results]
            kept = [trace.survivors.tolist() for trace in traces]
            for masks, carried in MASKS.items():
                labels = [own_mask(trace, refined, own) for trace, refined in smoothed(traces, carried)]
                pairs = list(zip(truths, labels, strict=True))
                found[queries + masks].add(
                    [region_similarity(*pair) for pair in pairs],
                    [boundary_accuracy(*pair) for pair in pairs],
                    kept,
                )
    return found


def whole(trace: Trace | CarlabError) -> Trace:
    """Return the trace; a frame that fails ends the measurement."""
    if isinstance(trace, Trace):
        return trace
    raise trace


def smoothed(traces: Iterable[Trace], smoothing: MaskSmoothing | None) -> list[tuple[Trace, Any]]:
    """Return the final masks of each trace, smoothed over time as `segment_frames` does it."""
    memory: Memory | None = None
    found = []
    for trace in traces:
        refined = trace.refined
        if smoothing is not None:
            rows, columns = trace.steps[0].cams.shape[1:]
            view = View(trace.image, trace.probes[TOKENS].astype(np.float32), (rows, columns))
            refined, memory = smoothing(memory, view, trace.survivors, refined)
        found.append((trace, refined))
    return found


def own_mask(trace: Trace, refined: Any, query: int) -> Any:
    """Return the mask of one query, empty where it was dropped."""
    return np.asarray(refined[trace.survivors == query].any(axis=0))


def table(found: dict[str, Scored]) -> str:
    """Return the scores with their intervals, and the differences to the first, paired over videos."""
    first = next(iter(found.values()))
    rows = [[name, *(shown(one(scored, score)) for score in SCORES)] for name, scored in found.items()]
    head = ["", *SCORES]
    text = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    differences = [
        [name, *(shown(difference(first, scored, score), "+") for score in SCORES)]
        for name, scored in list(found.items())[1:]
    ]
    more = tabulate(
        differences, ["less the first, paired", *SCORES], tablefmt="github", disable_numparse=True
    )
    return f"{text}\n\n{more}"


def one(scored: Scored, score: str) -> Interval:
    """Return a score with its interval over videos."""
    return interval(scored.terms(score))


def difference(first: Scored, second: Scored, score: str) -> Interval:
    """Return the second score less the first, with its interval over the same videos."""
    return paired_interval(first.terms(score), second.terms(score))


if __name__ == "__main__":
    print(table(measure(Path(sys.argv[1]), *sys.argv[2:] or ["offline/voc"])))
