"""Format runs as tables, for the terminal, for spreadsheets and for papers."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from textwrap import indent
from typing import NamedTuple

from tabulate import tabulate

from carlab.errors import RunError, SettingError
from carlab.evaluate.summary import Summary, difference
from carlab.metrics.intervals import percent, shown
from carlab.trace.show import printable, text_table

MOST_COLUMNS = 6
"""Runs whose classes are listed side by side."""


class Table(NamedTuple):
    """A title, a head, and rows of text; the first column names the row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def printable(self) -> "Table":
        """Return the table without control characters: a manifest or folder name may hold any."""
        rows = [[printable(cell) for cell in row] for row in self.rows]
        return Table(printable(self.title), [printable(cell) for cell in self.head], rows)


def tables(runs: Sequence[Summary]) -> list[Table]:
    """Return scores with intervals, differences to the first run, kept classes by step, and IoU by class.

    Of a grid of two settings, first the headline as a table of one by the other.
    """
    names = run_names(runs)
    found = [*_cross_table(runs, names), _score_table(runs, names)]
    if len(runs) > 1:
        found.append(_difference_table(runs, names))
    if all(run.protocol.kind == "semantic" for run in runs):
        found.append(_kept_table(runs, names))
        found += [_class_table(runs, names)] if len(runs) <= MOST_COLUMNS else []
    return [table.printable() for table in found]


def run_names(runs: Sequence[Summary]) -> list[str]:
    """Return the name of each run: its folder's, numbered where two are equal."""
    plain = [run.name + ", labels given" * run.protocol.labels_given for run in runs]
    return [
        f"{name} ({plain[:place].count(name) + 1})" if plain.count(name) > 1 else name
        for place, name in enumerate(plain)
    ]


def _cross_table(runs: Sequence[Summary], names: Sequence[str]) -> list[Table]:
    """Return the headline of a grid of two settings, one down and one across; nothing for other runs."""
    points = [tuple(tuple(part.partition("=")[::2]) for part in name.split(" ")) for name in names]
    axes = {tuple(setting for setting, _ in point) for point in points}
    if len(axes) != 1 or any(len(point) != 2 for point in points):
        return []
    down, across = (list(dict.fromkeys(point[place][1] for point in points)) for place in (0, 1))
    if min(len(down), len(across)) < 2 or len(points) < len(down) * len(across):
        return []
    metric = next(iter(runs[0].metrics))
    cells = {point: shown(run.interval(metric)) for point, run in zip(points, runs, strict=True)}
    ((first, second),) = axes
    rows = [(one, *(cells[(first, one), (second, other)] for other in across)) for one in down]
    title = f"{metric} by {first} and {second}, percent with 95 % intervals over images"
    return [Table(title, (f"{first} / {second}", *across), rows)]


def _score_table(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    metrics, about = list(runs[0].metrics), runs[0].protocol
    rows = [
        (
            name,
            *(shown(run.interval(metric)) if metric in run.metrics else "" for metric in metrics),
            f"{len(run.records)}" + (f" ({len(run.failed)} failed)" if run.failed else ""),
        )
        for run, name in zip(runs, names, strict=True)
    ]
    presets = ", ".join(dict.fromkeys(run.manifest["provenance"]["preset"] for run in runs))
    title = f"{about.dataset} {about.split}, {presets}, percent with 95 % intervals over images"
    return Table(title, ("run", *metrics, "images"), rows)


def _difference_table(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    """Return each run less the first, with paired intervals; runs of other protocols are not compared."""
    metrics, rows = list(runs[0].metrics), []
    for run, name in zip(runs[1:], names[1:], strict=True):
        try:
            cells = [shown(difference(runs[0], run, metric), sign="+") for metric in metrics]
        except RunError:
            cells = ["another protocol", *[""] * (len(metrics) - 1)]
        rows.append((name, *cells))
    return Table(f"difference to {names[0]}, paired over images", ("run", *metrics), rows)


def _class_table(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    """Return the IoU of each class, a column a run; empty where a run has no such class."""
    values = [run.per_class() for run in runs]
    classes = dict.fromkeys(name for column in values for name in column)
    rows = [(name, *(percent(column.get(name, float("nan"))) for column in values)) for name in classes]
    return Table("IoU by class, percent", ("class", *names), rows)


def _kept_table(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    """Return precision and recall of the kept classes: after each step of a run, the last of several."""
    rows = []
    for run, name in zip(runs, names, strict=True):
        steps = [
            (
                name,
                f"step {t}",
                percent(step.precision),
                percent(step.recall),
                f"{step.kept / len(run.records):.2f}",
            )
            for t, step in enumerate(run.kept(), 1)
        ]
        rows += steps if len(runs) == 1 else steps[-1:]
    return Table("kept queries, percent", ("run", "after", "precision", "recall", "queries an image"), rows)


def _as_text(table: Table) -> str:
    lines = indent(text_table(table.rows, table.head), "  ").splitlines()
    return "\n".join([table.title, "", *(line.rstrip() for line in lines)])


def _as_markdown(table: Table) -> str:
    head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in (table.head, *table.rows)]
    return f"**{table.title}**\n\n{_tabulated(rows, head, 'pipe')}"


def _as_latex(table: Table) -> str:
    """Return a table with booktabs."""
    return f"% {table.title}\n{_tabulated(table.rows, table.head, 'latex_booktabs')}"


def _tabulated(rows: Sequence[Sequence[str]], head: Sequence[str], form: str) -> str:
    align = ("left", *["right"] * (len(head) - 1)) if rows else None
    return tabulate(rows, headers=head, tablefmt=form, disable_numparse=True, colalign=align)


def _as_csv(tables: Sequence[Table]) -> str:
    """Return all tables in one CSV: table, row, column, cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("table", "row", "column", "value"))
    for table in tables:
        for row in table.rows:
            cells = zip(table.head[1:], row[1:], strict=True)
            writer.writerows((table.title, row[0], name, cell) for name, cell in cells)
    return stream.getvalue()


TABLE_FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": lambda tables: "\n\n".join(map(_as_text, tables)),
    "markdown": lambda tables: "\n\n".join(map(_as_markdown, tables)),
    "csv": _as_csv,
    "latex": lambda tables: "\n\n".join(map(_as_latex, tables)),
    "json": lambda tables: json.dumps([table._asdict() for table in tables], indent=1),
}


def render(runs: Sequence[Summary], form: str) -> str:
    """Return the tables in one of `TABLE_FORMATS`; SettingError if there is no such format."""
    if form not in TABLE_FORMATS:
        raise SettingError(
            f"expected a format out of {', '.join(TABLE_FORMATS)}, got {form!r}; choose one of them"
        )
    return TABLE_FORMATS[form](tables(runs))
