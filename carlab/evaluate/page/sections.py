"""What the sections of the page show, from summaries; the template decides how."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isnan
from typing import Any, NamedTuple

from carlab.errors import RunError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.report import run_names
from carlab.evaluate.summary import Summary, difference
from carlab.files.pictures import OKABE_ITO, colour_hex
from carlab.metrics.bootstrap import Interval

RUN_COLOURS = (4, 0, 2, 6, 5, 1, 3)
"""Places in Okabe and Ito's palette: the first ones stand out on white and on black."""
MOST_DROPS = 60
"""Words wrongly dropped that are listed."""


@dataclass(frozen=True)
class Run:
    """A run and what stands for it on the page: a number, a name, a colour."""

    number: int
    name: str
    folder: RunFolder
    summary: Summary

    @property
    def colour(self) -> str:
        """`#rrggbb`."""
        place = self.number - 1
        return colour_hex(RUN_COLOURS[place] if place < len(RUN_COLOURS) else place + len(OKABE_ITO))

    @property
    def data(self) -> tuple[str, str]:
        """Data set and split."""
        return self.summary.protocol.dataset, self.summary.protocol.split

    @property
    def digest(self) -> str:
        """Of the data, the classes and the words asked for: ids mean the same where it is the same."""
        return str(self.summary.manifest["dataset"]["digest"])

    @property
    def total(self) -> int:
        """Images of the split."""
        return int(self.summary.manifest["dataset"]["images"])

    @property
    def backbones(self) -> str:
        """Who proposes and who scores."""
        made = self.summary.manifest["provenance"]
        names = dict.fromkeys(made.get(f"{stage}.backbone", "") for stage in ("proposer", "classifier"))
        return " × ".join(filter(None, names))


def runs(folders: Sequence[RunFolder], summaries: Sequence[Summary]) -> list[Run]:
    """The runs, numbered from 1."""
    rows = zip(run_names(summaries), folders, summaries, strict=True)
    return [Run(number, *row) for number, row in enumerate(rows, 1)]


class Line(NamedTuple):
    """A curve over steps: values in [0, 1], NaN where there is none."""

    name: str
    colour: str
    values: Sequence[float]
    dashed: bool = False
    ends: bool = False
    """Marked with a cross at its last value."""

    @property
    def dots(self) -> list[tuple[str, str]]:
        """Places of the known values, x and y, as SVG lengths."""
        steps = len(self.values)
        return [
            (f"{100 * (t + 0.5) / steps:.2f}%", f"{100 * (1 - value):.2f}%")
            for t, value in enumerate(self.values)
            if not isnan(value)
        ]

    @property
    def strokes(self) -> Iterable[Any]:
        """Pairs of neighbouring dots."""
        return pairwise(self.dots)


def scores(runs: Sequence[Run]) -> dict[str, list[tuple[Run, Interval]]]:
    """Every score with its interval, for each run that has it; the headline first."""
    names = dict.fromkeys(name for run in runs for name in run.summary.metrics)
    return {
        name: [(run, run.summary.interval(name)) for run in runs if name in run.summary.metrics]
        for name in names
    }


class Difference(NamedTuple):
    """A run less the first: scores with paired intervals, or why the two are not compared."""

    run: Run
    scores: Mapping[str, Interval]
    refusal: str = ""

    @property
    def extent(self) -> float:
        """Where a scale around zero ends that holds everything: a multiple of 0.05."""
        most = max((abs(v) for interval in self.scores.values() for v in interval if not isnan(v)), default=0)
        return max(1, ceil(20 * most)) / 20


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Each other run less the first."""
    return [_difference(runs[0], run) for run in runs[1:]]


def _difference(first: Run, run: Run) -> Difference:
    try:
        names = run.summary.metrics
        return Difference(run, {name: difference(first.summary, run.summary, name) for name in names})
    except RunError as error:
        return Difference(run, {}, str(error))


class ClassTable(NamedTuple):
    """IoU by class, of runs over the same classes."""

    runs: Sequence[Run]
    rows: Mapping[str, Sequence[float]]

    @property
    def compared(self) -> list[int]:
        """Places of the runs that may be compared to the first: those over the same images."""
        protocols = [run.summary.protocol for run in self.runs]
        return [place for place, protocol in enumerate(protocols) if place and protocol == protocols[0]]


def classes(runs: Sequence[Run]) -> list[ClassTable]:
    """A table for each list of classes; most often there is one."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in _semantic(runs):
        groups.setdefault(tuple(run.summary.per_class()), []).append(run)
    return [_class_table(names, group) for names, group in groups.items()]


def _class_table(names: Sequence[str], runs: Sequence[Run]) -> ClassTable:
    values = [run.summary.per_class() for run in runs]
    return ClassTable(runs, {name: [value[name] for value in values] for name in names})


def _semantic(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.summary.protocol.kind == "semantic"]


class KeptWords(NamedTuple):
    """Kept words of a run after each step."""

    run: Run
    steps: Sequence[tuple[float, float, float]]
    """Precision, recall, and words an image."""

    @property
    def lines(self) -> list[Line]:
        """The two as curves."""
        precision, recall, _ = zip(*self.steps, strict=True)
        return [
            Line("precision", self.run.colour, precision),
            Line("recall", self.run.colour, recall, dashed=True),
        ]


def kept(runs: Sequence[Run]) -> list[KeptWords]:
    """Precision and recall of the words still kept after each step, of the runs that made any."""
    found = [(run, run.summary.kept()) for run in _semantic(runs)]
    return [
        KeptWords(
            run,
            [(step.precision, step.recall, step.kept / len(run.summary.records)) for step in steps],
        )
        for run, steps in found
        if steps
    ]


class Dropped(NamedTuple):
    """A word that is true but fell: at which step from 1, and by how much."""

    run: Run
    image: str
    name: str
    step: int
    margin: float


def dropped(runs: Sequence[Run]) -> tuple[list[Dropped], int]:
    """Words wrongly dropped, the closest first, and how many there are in all."""
    found = [Dropped(run, *drop) for run in _semantic(runs) for drop in run.summary.wrong_drops()]
    return sorted(found, key=lambda drop: drop.margin)[:MOST_DROPS], len(found)


def failed(runs: Sequence[Run]) -> list[tuple[Run, str, str]]:
    """Run, image and error of every failure."""
    return [(run, *failure) for run in runs for failure in run.summary.failed.items()]


class Setting(NamedTuple):
    """A line of the manifest: its dotted name, and its value in each run."""

    name: str
    values: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether two runs have different values."""
        return len(set(self.values)) > 1


def settings(runs: Sequence[Run]) -> list[Setting]:
    """Everything that the manifests say, what differs first."""
    found = [dict(leaves(run.summary.manifest)) for run in runs]
    names = dict.fromkeys(name for values in found for name in values)
    lines = [Setting(name, [values.get(name, "") for values in found]) for name in names]
    return sorted(lines, key=lambda line: not line.differs)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values of nested mappings and lists, as text; a list of plain values is one leaf."""
    nested = isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(item, Mapping) for item in value)
    )
    if not nested:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from leaves(item, f"{name}.{key}" if name else str(key))
