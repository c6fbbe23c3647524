"""`carlab bench` and `carlab fidelity`, which only a checkout has: they measure, and are not in the wheel."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carlab.cli import options
from carlab.trace.show import text_table

if TYPE_CHECKING:
    from benchmarks.cost import Measurement
    from benchmarks.fidelity import Row


def bench(
    preset: Annotated[str, typer.Option(help="What to measure.")] = "reference/voc",
    proposer_backbone: Annotated[
        str, typer.Option(help='"random:ViT-B/16", a folder or a hub name.')
    ] = "random:ViT-B/16",
    classifier: Annotated[
        str, typer.Option(help='"random:ViT-L/14", "random:ViT-L/14@336", ...')
    ] = "random:ViT-L/14",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, ...")] = "float32",
    queries: Annotated[
        list[int], typer.Option("--queries", "-n", help="How many; repeat to see how time grows.")
    ] = [4],  # noqa: B006
    steps: Annotated[int, typer.Option(help="Steps of the recurrence; every query stays.")] = 2,
    height: Annotated[int, typer.Option(help="Rows of the image.")] = 366,
    width: Annotated[int, typer.Option(help="Columns of the image.")] = 500,
    image: Annotated[str | None, typer.Option(help="Your image instead of scikit-image's cat.")] = None,
    batch: Annotated[int, typer.Option(help="Prompted images encoded at once.")] = 8,
    threads: options.Threads = None,
    released: Annotated[bool, typer.Option(help="Also run the released schedule (minutes on a CPU).")] = True,
) -> None:
    """Measure one run, loading not counted; prints Markdown."""
    from benchmarks.cost import Task, measured

    offline = preset == "offline"
    for number in queries:
        task = Task(
            preset, None if offline else proposer_backbone, None if offline else classifier,
            device, dtype, number, steps, height, width, batch, image,
        )  # fmt: skip
        ours = measured(task)
        theirs = measured(Task(**{**vars(task), "as_released": True})) if released else None
        typer.echo(report(f"{preset}, {number} queries, {steps} steps, {device} {dtype}", ours, theirs))


def report(title: str, ours: "Measurement", theirs: "Measurement | None") -> str:
    """Return a Markdown table, and ratios drawn from it."""
    from benchmarks.cost import PASSES, STAGES
    from carlab.trace.show import size_text

    both = [ours] if theirs is None else [ours, theirs]
    names = ["carlab", "released schedule"][: len(both)]
    lines = [f"\n**{title}**\n", "| stage |" + "".join(f" {n}: passes | seconds |" for n in names)]
    lines.append("|---|" + "---:|---:|" * len(both))
    for stage in STAGES:
        cells = (
            f" {m.passes.get(PASSES.get(stage, stage), '')} | {m.seconds.get(stage, 0):.2f} |" for m in both
        )
        lines.append(f"| {stage} |" + "".join(cells))
    lines.append("| **all** |" + "".join(f" | **{m.total:.2f}** |" for m in both))
    lines.append("| peak memory |" + "".join(f" | {size_text(m.peak)} |" for m in both))
    share = ours.total / ours.necessary if ours.necessary else float("nan")
    lines.append(
        f"\n{share:.2f} times the sum of the necessary passes (trunk, products, texts, prompted images)."
    )
    lines.append(f"A re-run with another threshold and no refiner: {1000 * ours.rerun:.0f} ms.")
    if theirs is not None:
        same = "equal" if ours.kept == theirs.kept else "DIFFERENT"
        agreement = float((ours.labels == theirs.labels).mean())
        lines.append(
            f"{theirs.total / ours.total:.1f} times faster than the released schedule; "
            f"kept sets {same}, labels equal on {100 * agreement:.2f} % of pixels."
        )
    return "\n".join(lines)


def fidelity(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder with cases.json; default: the cases of this checkout.")
    ] = None,
) -> None:
    """Run every case; exit code 0 only if all hold."""
    from benchmarks.fidelity import BOUNDS, MEAN_FINAL, OWN, all_hold, run_cases

    rows = list(run_cases(folder or OWN))
    kinds = list(BOUNDS)
    head = ("case", *kinds, "kept", "at eta", "equal", "holds")
    bounds = ("bound", *(f"{value:.0e}" for value in BOUNDS.values()), "equal", "", "", "")
    typer.echo(text_table([bounds, *(line(row, kinds) for row in rows)], head))
    final = [row.differences["final"] for row in rows if "final" in row.differences]
    held = sum(row.holds for row in rows)
    mean = sum(final) / len(final) if final else 0.0
    rounded = [sum(getattr(row, kind) > 0 for row in rows) for kind in ("flipped", "equal")]
    typer.echo(f"\n{held} of {len(rows)} cases hold")
    typer.echo(f"by rounding: {rounded[0]} with mask pixels at eta, {rounded[1]} with equal masks")
    typer.echo(f"final pixels that differ: {mean:.1e} on average (bound {MEAN_FINAL:.0e})")
    if not all_hold(rows):
        raise typer.Exit(1)


def line(row: "Row", kinds: list[str]) -> tuple[str, ...]:
    """Return a row of the table: differences, "-" where the case does not have them."""
    cells = [f"{row.differences[kind]:.1e}" if kind in row.differences else "-" for kind in kinds]
    return (
        row.name,
        *cells,
        "yes" if row.kept else "NO",
        str(row.flipped or ""),
        str(row.equal or ""),
        "yes" if row.holds else "NO",
    )
