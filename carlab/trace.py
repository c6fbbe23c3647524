"""What happened, step by step: the one thing that figures, widgets and metrics read.

NumPy only: a saved trace opens in milliseconds on a machine that has no model.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8, jaxtyped

from carlab.archive import read_archive, write_archive
from carlab.display import trace_html, trace_text
from carlab.errors import TraceError
from carlab.overlay import resize_maps

FORMAT = 1
"""Version of the file layout; a reader refuses versions it does not know."""

STEP_ARRAYS = ("active", "cams", "masks", "prompted", "probs", "kept")
STOPS = ("fixed point", "nothing present", "step limit")


class Drop(NamedTuple):
    """When and by how much a query fell: `margin` = threshold - score, positive."""

    query: int
    step: int
    score: float
    margin: float


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the recurrence, h_{t-1} -> y_t -> P_t -> h_t (paper, section 3.1).

    Axis letters: q active queries, i j patch rows and columns, s the
    classifier's input side.
    """

    active: Int[np.ndarray, " q"]
    """Indices into `Trace.queries`, increasing."""
    cams: Float32[np.ndarray, "q i j"]
    """Grad-CAM in [0, 1], before the affinity."""
    masks: Float32[np.ndarray, "q i j"]
    """Soft masks in [0, 1], after the affinity; `Trace.masks(t)` brings them to pixels."""
    prompted: UInt8[np.ndarray, "q s1 s2 3"]
    """The prompted images as the classifier saw them."""
    probs: Float32[np.ndarray, "q q"]
    """P_t: row = prompted image, column = query; rows sum to 1."""
    kept: Bool[np.ndarray, " q"]
    """Which of the active queries stay."""
    probes: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Recorded probes of this step."""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> Float32[np.ndarray, " q"]:
        """P_t[k, k]: how sure the classifier is that prompted image k shows query k."""
        return np.diagonal(self.probs).copy()

    @property
    def survivors(self) -> Int[np.ndarray, " k"]:
        """Indices into `Trace.queries` of the queries kept: h_t."""
        return self.active[self.kept]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A whole run: the photo, every step, and the final masks."""

    image: UInt8[np.ndarray, "h w 3"]
    queries: tuple[str, ...]
    background: tuple[str, ...]
    steps: tuple[Step, ...]
    refined: Bool[np.ndarray, "k h w"]
    """Final mask of each survivor, in the order of `survivors`; masks may overlap."""
    stop: str
    """Why the loop ended: "fixed point", "nothing present" or "step limit"."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Every setting of every stage, as JSON values."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Versions, backbone names and the sha256 of their weights."""
    probes: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Recorded probes that fire once an image."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    passes: Mapping[str, int] = field(default_factory=dict)
    """Model passes made: trunk, vjp, image encode, text encode."""

    @property
    def survivors(self) -> Int[np.ndarray, " k"]:
        """Indices of the queries found, increasing."""
        return self.steps[-1].survivors

    @property
    def found(self) -> tuple[str, ...]:
        """The queries found, in their own order."""
        return tuple(self.queries[index] for index in self.survivors)

    @property
    def scores(self) -> Float32[np.ndarray, "t Q"]:
        """Score of every query at every step, NaN once it is gone."""
        table = np.full((len(self.steps), len(self.queries)), np.nan, dtype=np.float32)
        for row, step in zip(table, self.steps, strict=True):
            row[step.active] = step.scores
        return table

    @property
    def threshold(self) -> float:
        """theta, what a score must exceed; NaN when the filter has none."""
        return float(self.settings.get("filter", {}).get("theta", np.nan))

    @property
    def drops(self) -> tuple[Drop, ...]:
        """Every query that fell, in order of step, then index."""
        return tuple(
            Drop(int(query), t, float(score), self.threshold - float(score))
            for t, step in enumerate(self.steps)
            for query, score, kept in zip(step.active, step.scores, step.kept, strict=True)
            if not kept
        )

    @property
    def labels(self) -> Int[np.ndarray, "h w"]:
        """Label map: 0 background, i + 1 = queries[i]; where masks overlap the higher score wins."""
        labels = np.zeros(self.image.shape[:2], dtype=np.int64)
        scores = self.steps[-1].scores[self.steps[-1].kept]
        for row in np.argsort(scores, kind="stable"):
            labels[self.refined[row]] = self.survivors[row] + 1
        return labels

    def masks(self, t: int) -> Float32[np.ndarray, "q h w"]:
        """Soft masks of step `t` at the photo's size, in [0, 1]."""
        return resize_maps(self.steps[t].masks, *self.image.shape[:2])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file, atomically.

        Raises
        ------
        TraceError
            If the place cannot be written; what stood there stays.
        """
        return write_archive(path, *self.to_arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Trace":
        """Read a file that `save` wrote. Needs no model and no torch.

        Raises
        ------
        TraceError
            If the file is missing, damaged, or of a version not known here.
        """
        arrays, metadata = read_archive(path)
        if metadata.get("format") != FORMAT:
            raise TraceError(
                f"expected trace format {FORMAT}, got {metadata.get('format')!r} in {os.fspath(path)!r}; "
                "install the carlab version that wrote it, or run again"
            )
        try:
            return cls.from_arrays(arrays, metadata)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise TraceError(
                f"expected a whole trace, got {os.fspath(path)!r} with a part missing or misshapen "
                f"({error!r}); run again to make a new trace"
            ) from error

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Flatten into named arrays and JSON metadata; `from_arrays` undoes it."""
        # Masks are stored as bits: an eighth of the size at 12 megapixels.
        arrays = {"image": self.image, "refined": np.packbits(self.refined, axis=-1)}
        arrays |= {f"probe.{name}": value for name, value in self.probes.items()}
        for t, step in enumerate(self.steps):
            arrays |= {f"step{t}.{name}": getattr(step, name) for name in STEP_ARRAYS}
            arrays |= {f"step{t}.probe.{name}": value for name, value in step.probes.items()}
        metadata = {
            "format": FORMAT,
            "queries": list(self.queries),
            "background": list(self.background),
            "stop": self.stop,
            "settings": dict(self.settings),
            "provenance": dict(self.provenance),
            "seconds": dict(self.seconds),
            "step_seconds": [dict(step.seconds) for step in self.steps],
            "passes": dict(self.passes),
        }
        return arrays, metadata

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> "Trace":
        """Build a trace from what `to_arrays` gave; a part that does not fit is a ValueError or the like."""
        image, packed = arrays["image"], arrays["refined"]
        steps = tuple(
            Step(
                **{name: arrays[f"step{t}.{name}"] for name in STEP_ARRAYS},
                probes=_with_prefix(arrays, f"step{t}.probe."),
                seconds=seconds,
            )
            for t, seconds in enumerate(metadata["step_seconds"])
        )
        refined = np.unpackbits(packed, axis=-1, count=image.shape[1]).astype(bool)
        trace = cls(
            image=image,
            queries=tuple(metadata["queries"]),
            background=tuple(metadata["background"]),
            steps=steps,
            refined=refined,
            stop=metadata["stop"],
            settings=metadata["settings"],
            provenance=metadata["provenance"],
            probes=_with_prefix(arrays, "probe."),
            seconds=metadata["seconds"],
            passes=metadata["passes"],
        )
        # unpackbits would fill missing columns up with zeros.
        if packed.shape[-1] != -(-image.shape[1] // 8) or not (_shapes_fit(trace) and _words_fit(trace)):
            raise ValueError("the parts do not belong together")
        return trace

    def __eq__(self, other: object) -> bool:
        """Whether every array and every value is equal, NaN equal to NaN."""
        if not isinstance(other, Trace):
            return NotImplemented
        (mine, my_data), (theirs, their_data) = self.to_arrays(), other.to_arrays()
        return (
            my_data == their_data
            and mine.keys() == theirs.keys()
            and all(_same(mine[name], theirs[name]) for name in mine)
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, and arrays can be edited

    def __str__(self) -> str:
        """A table of scores by step, for the terminal."""
        return trace_text(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("Trace(...)" if cycle else str(self))

    def _repr_html_(self) -> str:
        return trace_html(self)


def _with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


@jaxtyped(typechecker=None)
def _shapes_fit(trace: Trace) -> bool:
    """Whether every array has the type and axes that its field declares: a file may hold anything."""
    declared = Trace.__annotations__
    return (
        all(isinstance(getattr(trace, name), declared[name]) for name in ("image", "refined"))
        and len(trace.steps) > 0
        and all(_step_fits(step, len(trace.queries)) for step in trace.steps)
        and len(trace.refined) == len(trace.survivors)
    )


@jaxtyped(typechecker=None)
def _step_fits(step: Step, queries: int) -> bool:
    """Whether arrays are as `Step` declares, axis letters agree, and `active` can index the queries."""
    return (
        all(isinstance(getattr(step, name), Step.__annotations__[name]) for name in STEP_ARRAYS)
        and bool((np.diff(step.active, prepend=-1, append=queries) > 0).all())
        and all(isinstance(value, int | float) for value in step.seconds.values())
    )


def _words_fit(trace: Trace) -> bool:
    """Whether words are words and numbers are numbers in what JSON gave."""
    words = (*trace.queries, *trace.background, *trace.provenance.values())
    settings = (trace.threshold, trace.settings.get("mask_threshold", 0.5))
    numbers = (*trace.seconds.values(), *trace.passes.values(), *settings)
    return (
        trace.stop in STOPS
        and all(isinstance(word, str) for word in words)
        and all(isinstance(number, int | float) for number in numbers)
    )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    nan_equal = a.dtype.kind == "f"
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=nan_equal)
