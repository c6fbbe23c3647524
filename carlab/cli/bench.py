"""`carlab bench`: passes, seconds and memory, stage by stage, beside the released schedule."""

from typing import TYPE_CHECKING, Annotated

import typer

from carlab.cli.machine import size

if TYPE_CHECKING:
    from carlab.benchmark import Measurement


def bench(
    preset: Annotated[str, typer.Option(help="What to measure.")] = "reference/voc",
    proposer: Annotated[
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
    height: Annotated[int, typer.Option(help="Rows of the photo.")] = 366,
    width: Annotated[int, typer.Option(help="Columns of the photo.")] = 500,
    photo: Annotated[str | None, typer.Option(help="A photo of yours instead of scikit-image's cat.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures encoded at once.")] = 8,
    released: Annotated[bool, typer.Option(help="Also run the released schedule (minutes on a CPU).")] = True,
) -> None:
    """Measure one run, loading not counted; prints Markdown."""
    from carlab.benchmark import Task, measure

    offline = preset == "offline"
    for number in queries:
        task = Task(
            preset, None if offline else proposer, None if offline else classifier,
            device, dtype, number, steps, height, width, batch, photo,
        )  # fmt: skip
        ours = measure(task)
        theirs = measure(Task(**{**vars(task), "as_released": True})) if released else None
        typer.echo(report(f"{preset}, {number} queries, {steps} steps, {device} {dtype}", ours, theirs))


def report(title: str, ours: "Measurement", theirs: "Measurement | None") -> str:
    """A Markdown table, and what it amounts to."""
    from carlab.benchmark import PASSES, STAGES

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
    lines.append("| peak memory |" + "".join(f" | {size(m.peak)} |" for m in both))
    share = ours.total / ours.necessary if ours.necessary else float("nan")
    lines.append(f"\n{share:.2f} times the sum of the necessary passes (trunk, products, texts, pictures).")
    lines.append(f"A re-run with another threshold and no refiner: {1000 * ours.rerun:.0f} ms.")
    if theirs is not None:
        same = "equal" if ours.kept == theirs.kept else "DIFFERENT"
        agreement = float((ours.labels == theirs.labels).mean())
        lines.append(
            f"{theirs.total / ours.total:.1f} times faster than the released schedule; "
            f"kept sets {same}, labels equal on {100 * agreement:.2f} % of pixels."
        )
    return "\n".join(lines)
