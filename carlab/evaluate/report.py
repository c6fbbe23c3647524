"""Tables of runs, for the terminal, for spreadsheets and for papers."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

from tabulate import tabulate

from carlab.errors import RunError, SettingError
from carlab.evaluate.summary import Summary, difference
from carlab.metrics.bootstrap import Interval
from carlab.trace.show import text_table

MOST_COLUMNS = 6
"""Runs whose classes are told side by side."""


@dataclass(frozen=True)
class Table:
    """A title, a head, and rows of text; the first column names the row."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(runs: Sequence[Summary]) -> list[Table]:
    """Scores with intervals, differences to the first run, classes, and kept words step by step."""
    names = run_names(runs)
    found = [scores(runs, names)]
    found += [differing(runs, names)] if len(runs) > 1 else []
    if all(run.protocol.kind == "semantic" for run in runs):
        found += [kept(runs, names)]
        found += [classes(runs, names)] if len(runs) <= MOST_COLUMNS else []
    return found


def run_names(runs: Sequence[Summary]) -> list[str]:
    """What to call each run: its folder, numbered where two are called alike."""
    plain = [run.name + ", labels given" * run.protocol.labels_given for run in runs]
    return [
        f"{name} ({plain[:place].count(name) + 1})" if plain.count(name) > 1 else name
        for place, name in enumerate(plain)
    ]


def scores(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    """A row a run, a column a score."""
    metrics = list(runs[0].metrics)
    rows = tuple(
        (
            name,
            *(shown(run.interval(metric)) if metric in run.metrics else "" for metric in metrics),
            f"{len(run.records)}" + (f" ({len(run.failed)} failed)" if run.failed else ""),
        )
        for run, name in zip(runs, names, strict=True)
    )
    about = runs[0].protocol
    presets = dict.fromkeys(run.manifest["provenance"]["preset"] for run in runs)
    return Table(
        f"{about.dataset} {about.split}, {', '.join(presets)}, percent with 95 % intervals over images",
        ("run", *metrics, "images"),
        rows,
    )


def differing(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    """Each run less the first, with paired intervals; runs of other protocols are not compared."""
    metrics = list(runs[0].metrics)
    rows = []
    for run, name in zip(runs[1:], names[1:], strict=True):
        try:
            cells = [shown(difference(runs[0], run, metric), sign="+") for metric in metrics]
        except RunError:
            cells = ["another protocol", *[""] * (len(metrics) - 1)]
        rows.append((name, *cells))
    return Table(f"difference to {names[0]}, paired over images", ("run", *metrics), tuple(rows))


def classes(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    """IoU of each class, a column a run."""
    columns_ = [run.per_class() for run in runs]
    rows = tuple((name, *(number(column[name]) for column in columns_)) for name in columns_[0])
    return Table("IoU by class, percent", ("class", *names), rows)


def kept(runs: Sequence[Summary], names: Sequence[str]) -> Table:
    """Precision and recall of the words still kept: after each step of a run, after the last of several."""
    rows = []
    for run, name in zip(runs, names, strict=True):
        steps = [
            (
                name,
                f"step {t + 1}",
                number(step.precision),
                number(step.recall),
                f"{step.kept / max(1, len(run.records)):.2f}",
            )
            for t, step in enumerate(run.kept())
        ]
        rows += steps if len(runs) == 1 else steps[-1:]
    return Table(
        "kept words, percent", ("run", "after", "precision", "recall", "words an image"), tuple(rows)
    )


def as_text(table: Table) -> str:
    """Return a table for the terminal."""
    lines = text_table(table.rows, table.head).splitlines()
    return "\n".join([table.title, "", *(f"  {line}".rstrip() for line in lines)])


def as_markdown(table: Table) -> str:
    """Return a table in Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
    head = [cell.replace("|", "\\|") for cell in table.head]
    return f"**{table.title}**\n\n{_tabulated(cells, head, 'pipe')}"


def as_latex(table: Table) -> str:
    """Return a table for a paper, with booktabs."""
    return f"% {table.title}\n{_tabulated(table.rows, table.head, 'latex_booktabs')}"


def _tabulated(rows: Sequence[Sequence[str]], head: Sequence[str], form: str) -> str:
    align = ("left", *["right"] * (len(head) - 1))
    return tabulate(
        rows, headers=head, tablefmt=form, disable_numparse=True, colalign=align if rows else None
    )


def as_csv(tables: Sequence[Table]) -> str:
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
    "text": lambda tables: "\n\n".join(map(as_text, tables)),
    "markdown": lambda tables: "\n\n".join(map(as_markdown, tables)),
    "csv": as_csv,
    "latex": lambda tables: "\n\n".join(map(as_latex, tables)),
}


def render(runs: Sequence[Summary], form: str) -> str:
    """Return the tables in one of `TABLE_FORMATS`.

    Raises
    ------
    SettingError
        If there is no such format.
    """
    if form not in TABLE_FORMATS:
        raise SettingError(
            f"expected a format out of {', '.join(TABLE_FORMATS)}, got {form!r}; choose one of them"
        )
    return TABLE_FORMATS[form](tables(runs))


def number(value: float) -> str:
    """Percent with one digit; empty for none."""
    return "" if isnan(value) else f"{100 * value:.1f}"


def shown(value: Interval, sign: str = "") -> str:
    """`41.2 [38.0, 44.1]`, in percent."""
    if isnan(value.value):
        return ""
    return f"{100 * value.value:{sign}.1f} [{100 * value.low:{sign}.1f}, {100 * value.high:{sign}.1f}]"
