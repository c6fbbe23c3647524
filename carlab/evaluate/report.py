"""Tables of runs, for the terminal, for spreadsheets and for papers."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

from carlab.display import columns, pad, printable
from carlab.errors import RunError, SettingError
from carlab.evaluate.summary import Summary, difference
from carlab.metrics.bootstrap import Interval

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


def text(runs: Sequence[Summary]) -> str:
    """Tables for the terminal."""
    return "\n\n".join(_text(table) for table in tables(runs))


def _text(table: Table) -> str:
    lines = [table.head, *table.rows]
    widths = [max(columns(printable(line[k])) for line in lines) for k in range(len(table.head))]
    shown_lines = [
        "  "
        + "  ".join(pad(printable(cell), width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, "", *shown_lines])


def markdown(runs: Sequence[Summary]) -> str:
    """Tables in Markdown."""
    return "\n\n".join(
        f"**{table.title}**\n\n"
        + "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
            for line in (table.head, ("---", *["---:"] * (len(table.head) - 1)), *table.rows)
        )
        for table in tables(runs)
    )


def comma_separated(runs: Sequence[Summary]) -> str:
    """All tables in one CSV: table, row, column, cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("table", "row", "column", "value"))
    for table in tables(runs):
        for row in table.rows:
            writer.writerows(
                (table.title, row[0], name, cell) for name, cell in zip(table.head[1:], row[1:], strict=True)
            )
    return stream.getvalue()


def latex(runs: Sequence[Summary]) -> str:
    """Tables for a paper, with booktabs."""
    return "\n\n".join(
        "\n".join(
            [
                f"% {table.title}",
                rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
                r"\toprule",
                _latex_row(table.head),
                r"\midrule",
                *map(_latex_row, table.rows),
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )
        for table in tables(runs)
    )


SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(SPECIAL.get(letter, letter) for letter in cell) for cell in cells) + r" \\"


FORMATS: dict[str, Callable[[Sequence[Summary]], str]] = {
    "text": text,
    "markdown": markdown,
    "csv": comma_separated,
    "latex": latex,
}


def render(runs: Sequence[Summary], form: str) -> str:
    """The tables in one of `FORMATS`.

    Raises
    ------
    SettingError
        If there is no such format.
    """
    if form not in FORMATS:
        raise SettingError(f"expected a format out of {', '.join(FORMATS)}, got {form!r}; choose one of them")
    return FORMATS[form](runs)


def number(value: float) -> str:
    """Percent with one digit; empty for none."""
    return "" if isnan(value) else f"{100 * value:.1f}"


def shown(value: Interval, sign: str = "") -> str:
    """`41.2 [38.0, 44.1]`, in percent."""
    if isnan(value.value):
        return ""
    return f"{100 * value.value:{sign}.1f} [{100 * value.low:{sign}.1f}, {100 * value.high:{sign}.1f}]"
