"""Compute what the sections of the page show beside the summaries; the template decides how."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from carlab.errors import RunError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.report import run_names
from carlab.evaluate.summary import Summary, difference
from carlab.files.pictures import OKABE_ITO, colour_hex
from carlab.metrics.intervals import Interval
from carlab.metrics.kept import Kept
from carlab.trace.provenance import leaves

RUN_COLOURS = (4, 0, 2, 6, 5, 1, 3)
"""Indices into Okabe and Ito's palette: the first ones are visible on white and on black."""


class PageRun(NamedTuple):
    """A run with its number (from 1), name and colour on the page, and what is computed once."""

    number: int
    name: str
    colour: str
    folder: RunFolder
    summary: Summary
    intervals: Mapping[str, Interval]
    classes: Mapping[str, float]
    kept: Sequence[Kept]


def page_runs(folders: Sequence[RunFolder], summaries: Sequence[Summary]) -> list[PageRun]:
    """Return the runs, numbered from 1."""
    colours = [*RUN_COLOURS, *range(2 * len(OKABE_ITO), len(OKABE_ITO) + len(folders))]
    rows = zip(run_names(summaries), colours[: len(folders)], folders, summaries, strict=True)
    runs = []
    for number, (name, colour, folder, summary) in enumerate(rows, 1):
        intervals = {metric: summary.interval(metric) for metric in summary.metrics}
        computed = (intervals, summary.per_class(), summary.kept())
        runs.append(PageRun(number, name, colour_hex(colour), folder, summary, *computed))
    return runs


def less_first(runs: Sequence[PageRun]) -> Iterator[tuple[PageRun, dict[str, Interval], str]]:
    """Yield each other run less the first: scores with paired intervals, or why they are not compared."""
    for run in runs[1:]:
        try:
            scores = {name: difference(runs[0].summary, run.summary, name) for name in run.summary.metrics}
            yield run, scores, ""
        except RunError as error:
            yield run, {}, str(error)


def group_by_classes(runs: Sequence[PageRun]) -> list[list[PageRun]]:
    """Return the semantic runs, those over the same classes together."""
    groups: dict[tuple[str, ...], list[PageRun]] = {}
    for run in runs:
        if run.classes:
            groups.setdefault(tuple(run.classes), []).append(run)
    return list(groups.values())


def manifest_lines(runs: Sequence[PageRun]) -> list[tuple[str, list[str]]]:
    """Return the leaves of the manifests: name, and value in each run; those that differ first."""
    found = [dict(leaves(run.summary.manifest)) for run in runs]
    names = dict.fromkeys(name for values in found for name in values)
    lines = [(name, [values.get(name, "") for values in found]) for name in names]
    return sorted(lines, key=lambda line: len(set(line[1])) == 1)
