"""`carlab fidelity`: cases that the released code wrote, against the `reference` preset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carlab.cli.show import table

if TYPE_CHECKING:
    from carlab.fidelity import Row


def fidelity(
    folder: Annotated[Path, typer.Argument(help="A folder with cases.json; see docs/fidelity.md.")],
) -> None:
    """Run every case; exit code 0 only if all hold."""
    from carlab.fidelity import BOUNDS, MEAN_FINAL, all_hold, run_cases

    rows = list(run_cases(folder))
    kinds = list(BOUNDS)
    head = ("case", *kinds, "kept", "chain", "holds")
    bounds = ("bound", *(f"{value:.0e}" for value in BOUNDS.values()), "equal", "", "")
    typer.echo(table([head, bounds, *(line(row, kinds) for row in rows)]))
    final = [row.differences["final"] for row in rows if "final" in row.differences]
    held = sum(row.holds for row in rows)
    mean = sum(final) / len(final) if final else 0.0
    typer.echo(f"\n{held} of {len(rows)} cases hold")
    typer.echo(f"final pixels that differ: {mean:.1e} on average (bound {MEAN_FINAL:.0e})")
    if not all_hold(rows):
        raise typer.Exit(1)


def line(row: "Row", kinds: list[str]) -> tuple[str, ...]:
    """A row of the table: differences, "-" where the case does not have them."""
    cells = [f"{row.differences[kind]:.1e}" if kind in row.differences else "-" for kind in kinds]
    chain = "-" if row.chain is None else f"{row.chain:.1e}"
    return (row.name, *cells, "yes" if row.kept else "NO", chain, "yes" if row.holds else "NO")
