"""Step and Trace: what happened in a run, step by step. Figures, widgets and metrics read nothing else.

NumPy only: a saved trace opens in milliseconds on a machine that has no model and no torch. In the examples
`trace` is a small trace of three queries, "cat", "dog" and "sofa", and three steps.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from carlab.errors import QueryError, TraceError, described, quoted, reason
from carlab.files.archive import read_archive, write_archive
from carlab.files.pictures import label_png, resize_maps
from carlab.files.schema import convert
from carlab.trace import export, show
from carlab.trace.provenance import setting_in
from carlab.trace.stored import Metadata, check_whole

if TYPE_CHECKING:
    import fiftyone
    import pandas
    import supervision
    from matplotlib.figure import Figure

TRACE_FORMAT = 1
"""Version of the file layout; other versions are refused."""

STEP_ARRAYS = ("active", "cams", "masks", "prompted", "probs", "kept")
MAPPINGS = ("settings", "provenance", "seconds", "passes")
CLOSE = 1e-4
"""Largest distance of a score from the threshold that another batch size or number of threads may cross."""
COST = ("seconds", "step_seconds", "passes")
"""Metadata that may differ between two equal traces: what a run cost, not what it computed."""


class Drop(NamedTuple):
    """When and by how much a query was dropped.

    Parameters
    ----------
    query, step
        Index of the query, and the step, from 0.
    score, margin
        Its score, in [0, 1], and threshold - score, positive; NaN where the filter has no threshold.
    """

    query: int
    step: int
    score: float
    margin: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the recurrence, h_{t-1} -> y_t -> P_t -> h_t (paper, section 3.1).

    Axis letters: q active queries, i j patch rows and columns, s the classifier's input side.

    Parameters
    ----------
    active
        Indices into `Trace.queries`, increasing.
    cams
        Grad-CAM in [0, 1], before the affinity.
    masks
        Soft masks in [0, 1], after the affinity; `Trace.masks(t)` resizes them to pixels.
    prompted
        The prompted images as the classifier saw them.
    probs
        P_t, in [0, 1]: row = prompted image, column = query. Rows sum to 1 unless the score is absolute.
    kept
        Which of the active queries are kept.
    probes
        Recorded probes of this step.
    seconds
        Time spent, by name.

    Examples
    --------
    >>> step = trace.steps[0]
    >>> step.scores.round(2), step.survivors
    (array([0.8 , 0.8 , 0.12], dtype=float32), array([0, 1]))
    """

    active: Int[np.ndarray, " q"]
    cams: Float32[np.ndarray, "q i j"]
    masks: Float32[np.ndarray, "q i j"]
    prompted: UInt8[np.ndarray, "q s1 s2 3"]
    probs: Float32[np.ndarray, "q q"]
    kept: Bool[np.ndarray, " q"]
    probes: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> Float32[np.ndarray, " q"]:
        """P_t[k, k]: score of query k in its own prompted image."""
        return np.diagonal(self.probs).copy()

    @property
    def survivors(self) -> Int[np.ndarray, " k"]:
        """Indices into `Trace.queries` of the queries kept: h_t."""
        return self.active[self.kept]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A whole run: the image, every step, and the final masks.

    Two traces are equal when everything computed is: arrays, queries, settings, provenance. What they cost
    is not compared.

    Parameters
    ----------
    image
        RGB.
    queries, background
        Names asked for, and background queries.
    steps
        One or more.
    refined
        Final mask of each survivor, in the order of `survivors`; masks may overlap.
    stop
        Why the loop ended: "fixed point", "nothing present", "step limit", or the reason of a rule of one's
        own.
    settings
        Every setting of every stage, as JSON values.
    provenance
        Versions, backbone names and the sha256 of their weights.
    probes
        Recorded probes that fire once an image.
    seconds, passes
        What this run cost: time spent and forward passes made, by name.

    Examples
    --------
    >>> trace.found, trace.stop
    (('cat',), 'fixed point')
    >>> trace.scores.round(2)
    array([[0.8 , 0.8 , 0.12],
           [0.8 , 0.12,  nan],
           [0.8 ,  nan,  nan]], dtype=float32)
    """

    image: UInt8[np.ndarray, "h w 3"]
    queries: tuple[str, ...]
    background: tuple[str, ...]
    steps: tuple[Step, ...]
    refined: Bool[np.ndarray, "k h w"]
    stop: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    passes: Mapping[str, int] = field(default_factory=dict)

    @property
    def survivors(self) -> Int[np.ndarray, " k"]:
        """Indices of the queries found, increasing."""
        return self.steps[-1].survivors

    @property
    def found(self) -> tuple[str, ...]:
        """The queries found, in their own order: those kept to the end whose final mask has a pixel."""
        return tuple(self.queries[index] for index in self.survivors[self.filled])

    @property
    def filled(self) -> Bool[np.ndarray, " k"]:
        """Which of the survivors have a final mask that is not empty."""
        return np.asarray(self.refined.any(axis=(1, 2)))

    def __getitem__(self, query: str) -> Bool[np.ndarray, "h w"]:
        """Return the final mask of a query by its name; all False if it was dropped.

        Raises QueryError if it was not asked for.

        >>> trace["cat"].shape, trace["dog"].any()
        ((48, 70), np.False_)
        """
        if not isinstance(query, str) or query not in self.queries:
            names = ", ".join(map(quoted, self.queries[:8])) + (", ..." if len(self.queries) > 8 else "")
            raise QueryError(f"expected a query out of {names}, got {described(query)}; run again with it")
        place = np.flatnonzero(self.survivors == self.queries.index(query))
        return np.asarray(self.refined[place].any(axis=0))

    def __contains__(self, query: object) -> bool:
        return query in self.found

    def __iter__(self) -> Iterator[str]:
        """Iterate over the queries found."""
        return iter(self.found)

    @property
    def scores(self) -> Float32[np.ndarray, "t Q"]:
        """Score of every query at every step, NaN once it is dropped."""
        table = np.full((len(self.steps), len(self.queries)), np.nan, dtype=np.float32)
        for row, step in zip(table, self.steps, strict=True):
            row[step.active] = step.scores
        return table

    @property
    def threshold(self) -> float:
        """theta, the score a query must exceed; NaN when the filter has none."""
        theta = setting_in(self.settings, "filter", "theta")
        return float(theta) if isinstance(theta, int | float) else np.nan

    @property
    def drops(self) -> tuple[Drop, ...]:
        """Every query that was dropped, in order of step, then index.

        >>> [(drop.query, drop.step, round(drop.margin, 2)) for drop in trace.drops]
        [(2, 0, 0.18), (1, 1, 0.18)]
        """
        return tuple(
            Drop(int(query), t, float(score), self.threshold - float(score))
            for t, step in enumerate(self.steps)
            for query, score, kept in zip(step.active, step.scores, step.kept, strict=True)
            if not kept
        )

    @property
    def close_calls(self) -> tuple[tuple[int, int], ...]:
        """Query and step of every score within `CLOSE` of the threshold: rounding decides whether it is kept.

        >>> trace.close_calls
        ()
        """
        places = np.argwhere(np.abs(self.scores - self.threshold) < CLOSE)
        return tuple((int(query), int(step)) for step, query in places)

    @property
    def labels(self) -> Int[np.ndarray, "h w"]:
        """Label map: 0 background, i + 1 = queries[i]; where masks overlap the higher score wins."""
        labels = np.zeros(self.image.shape[:2], dtype=np.int64)
        scores = self.steps[-1].scores[self.steps[-1].kept]
        for row in np.argsort(scores, kind="stable"):
            labels[self.refined[row]] = self.survivors[row] + 1
        return labels

    def masks(self, t: int) -> Float32[np.ndarray, "q h w"]:
        """Return the soft masks of step `t` (from 0) in pixels, in [0, 1]."""
        return resize_maps(self.steps[t].masks, *self.image.shape[:2])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file, atomically, and return its path.

        Raises TraceError if the place cannot be written; an existing file stays.
        """
        return write_archive(path, *self.to_arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Trace":
        """Read a file that `save` wrote. Needs no model and no torch.

        Raises TraceError if the file is missing, damaged, or of a version not known here.
        """
        arrays, metadata = read_archive(path)
        if metadata.get("format") != TRACE_FORMAT:
            raise TraceError(
                f"expected trace format {TRACE_FORMAT}, got {described(metadata.get('format'))} in "
                f"{quoted(path)}; install the carlab version that wrote it, or run again"
            )
        try:
            return cls.from_arrays(arrays, metadata)
        except (KeyError, ValueError) as error:
            raise TraceError(
                f"expected a whole trace, got {quoted(path)} with a part missing or misshapen "
                f"({reason(error)}); run again to make a new trace"
            ) from error

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Flatten into named arrays and JSON metadata; `from_arrays` reverses it."""
        # Masks are stored as bits: an eighth of the size at 12 megapixels.
        arrays = {"image": self.image, "refined": np.packbits(self.refined, axis=-1)}
        arrays |= {f"probe.{name}": value for name, value in self.probes.items()}
        for t, step in enumerate(self.steps):
            arrays |= {f"step{t}.{name}": getattr(step, name) for name in STEP_ARRAYS}
            arrays |= {f"step{t}.probe.{name}": value for name, value in step.probes.items()}
        metadata: dict[str, Any] = {"format": TRACE_FORMAT, "stop": self.stop}
        metadata |= {"queries": list(self.queries), "background": list(self.background)}
        metadata |= {name: dict(getattr(self, name)) for name in MAPPINGS}
        return arrays, metadata | {"step_seconds": [dict(step.seconds) for step in self.steps]}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> "Trace":
        """Build a trace from the parts that `to_arrays` returned.

        KeyError or ValueError if a part is missing or does not fit.
        """
        said: Metadata = convert(metadata, Metadata)
        parts = [
            {name: arrays[f"step{t}.{name}"] for name in STEP_ARRAYS} for t in range(len(said.step_seconds))
        ]
        image, packed = arrays["image"], arrays["refined"]
        check_whole(image, packed, parts, len(said.queries), {**cls.__annotations__, **Step.__annotations__})
        return cls(
            image=image,
            queries=tuple(said.queries),
            background=tuple(said.background),
            steps=tuple(
                Step(**part, probes=_with_prefix(arrays, f"step{t}.probe."), seconds=seconds)
                for t, (part, seconds) in enumerate(zip(parts, said.step_seconds, strict=True))
            ),
            refined=np.unpackbits(packed, axis=-1, count=image.shape[1]).view(bool),
            stop=said.stop,
            probes=_with_prefix(arrays, "probe."),
            **{name: getattr(said, name) for name in MAPPINGS},
        )

    def figure(self, kind: str, **options: Any) -> "Figure":
        """Draw a figure for print, see `carlab.figures.paper.OF_ONE`.

        Raises SettingError if there is no such figure.

        Parameters
        ----------
        kind, options
            "strip", "prompts", "pipeline" or "scores"; and what that figure takes, such as `width="column"`.

        >>> len(trace.figure("scores").axes)
        1
        """
        from carlab.figures.paper import draw

        return draw(kind, [self], **options)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the page of `carlab view`, which works from its file with no network, and return its path.

        Raises TraceError if the place cannot be written.

        Parameters
        ----------
        path
            By default `trace.html` in the working directory.
        """
        from carlab.figures.page import write_page

        return write_page(self, "trace.html" if path is None else path)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores and masks must know; most traces have none."""
        return show.notes(self)

    def label_png(self) -> bytes:
        """Return `labels` as a PNG: in the figures' colours; 16 bits of grey from 256 queries."""
        return label_png(self.labels, len(self.queries))

    def to_records(self) -> list[dict[str, Any]]:
        """Return one row of JSON values for each query, see `carlab.trace.export.records`."""
        return export.records(self)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Return `to_records` as a pandas DataFrame; SettingError if pandas is not installed."""
        return export.to_dataframe(self)

    def to_coco(self, image_id: int = 1, first_id: int = 1) -> dict[str, Any]:
        """Return images, categories and annotations as COCO's results and annotations have them.

        Category i + 1 is queries[i]; masks are run-length encoded by pycocotools; see
        `carlab.trace.export.to_coco`.
        """
        return export.to_coco(self, image_id, first_id)

    def to_supervision(self) -> "supervision.Detections":
        """Return the masks found as `supervision.Detections`; SettingError if it is not installed."""
        return export.to_supervision(self)

    def to_fiftyone(self) -> "fiftyone.Detections":
        """Return the masks found as `fiftyone.Detections`; SettingError if it is not installed."""
        return export.to_fiftyone(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        (mine, my_data), (theirs, their_data) = self.to_arrays(), other.to_arrays()
        return (
            all(my_data[name] == their_data[name] for name in my_data if name not in COST)
            and mine.keys() == theirs.keys()
            and all(
                value.dtype == theirs[name].dtype
                and np.array_equal(value, theirs[name], equal_nan=value.dtype.kind == "f")
                for name, value in mine.items()
            )
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, and arrays can be edited

    def __str__(self) -> str:
        return show.trace_text(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("Trace(...)" if cycle else str(self))

    def _repr_html_(self) -> str:
        return show.trace_html(self)


def _with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
