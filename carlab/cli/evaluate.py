"""`carlab eval`: evaluate a model on a data set; it can be stopped, and continued by the same command."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from carlab.cli import options
from carlab.cli.segment import report_failure, report_line
from carlab.errors import SettingError
from carlab.trace.show import printable

if TYPE_CHECKING:
    from carlab.datasets import Dataset
    from carlab.evaluate.engine import Engine
    from carlab.evaluate.summary import Summary
    from carlab.evaluate.work import Load, Outcome


@options.with_settings("refer")
def evaluate_preset(
    dataset: options.Data,
    root: options.Root,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; an unfinished one goes on.")],
    split: options.Split = None,
    limit: options.Limit = None,
    preset: options.Preset = "offline",
    proposer_backbone: options.ProposerBackbone = None,
    classifier: options.Classifier = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    labels_given: Annotated[
        bool, typer.Option("--labels-given", help="Query only classes that are present: an upper bound.")
    ] = False,
    keep_traces: Annotated[str, typer.Option(help="all, none, or worst:NUMBER.")] = "worst:20",
    engine: options.EngineName = "local",
    workers: options.Workers = 1,
    together: options.Together = 4,
    gpus_per_worker: options.Gpus = None,
    ray_address: options.RayAddress = None,
    **settings: Any,
) -> None:
    """Evaluate a preset, with any setting changed, on a data set."""
    from carlab.presets import load

    # The data first: a wrong folder is an error before a model is loaded.
    data = load_data(dataset, root, split, preset, labels_given=labels_given)
    options.announce(f"{len(data)} images of {data.name} {data.split}; loading {preset}")
    place = place_named(engine, workers, together, device, gpus_per_worker, ray_address)
    networks = {"proposer_backbone": proposer_backbone, "classifier": classifier}
    model = partial(load, preset, **networks, device=place.device, dtype=dtype)
    finish(run_all(data, model, {out: settings}, limit=limit, keep_traces=keep_traces, engine=place.engine))


def load_data(
    dataset: str, root: Path, split: str | None, preset: str, *, labels_given: bool = False
) -> "Dataset":
    """Load a data set; for the presets of CLIP, with the class names of the released code as queries."""
    from carlab.datasets import load_dataset

    data = replace(load_dataset(dataset, root, split), labels_given=labels_given)
    return data if preset.partition("/")[0] == "offline" else data.as_released()


class Place(NamedTuple):
    """Where a run computes: its engine, and the device as the models see it there."""

    engine: "Engine"
    device: str


def place_named(
    engine: str, workers: int, together: int, device: str, gpus: float | None, address: str | None
) -> Place:
    """Return where the options say that a run computes; SettingError if they contradict each other."""
    from carlab.evaluate.engine import Here
    from carlab.evaluate.machines import OnRay

    if engine not in ("local", "ray"):
        raise SettingError(f"expected an engine out of local, ray, got {engine!r}; choose one of them")
    if engine == "local":
        if gpus is not None or address is not None:
            raise SettingError(
                "expected --engine ray with --gpus-per-worker or --ray-address, got local; add --engine ray"
            )
        return Place(partial(Here, together=together, workers=workers), device)
    on_gpu = device.partition(":")[0] == "cuda"
    share = float(on_gpu) if gpus is None else gpus
    if on_gpu != (share > 0):
        raise SettingError(
            f"expected --device cuda with a share of a GPU, got {device} and {share:g}; change one of the two"
        )
    on_ray = partial(OnRay, workers=workers, together=together, gpus=share, address=address, say=report_line)
    # Ray gives each worker a GPU, which is the only one it sees: the number on this machine means nothing.
    return Place(on_ray, "cuda" if on_gpu else device)


def run_all(
    data: "Dataset", model: "Load", plans: Mapping[Path, Mapping[str, Any]], **options: Any
) -> list["Summary"]:
    """Run every plan, with a progress bar and the score so far; `options` are those of `evaluate`."""
    from tqdm import tqdm

    from carlab.evaluate.run import Plan, evaluate

    def begin(left: int, done: int) -> None:
        bar.reset(left)
        where = ", ".join(map(str, plans))
        typer.echo(f"carlab: {left} to run, {done} done before, in {printable(where)}", err=True)

    def progress(left: int, outcome: "Outcome", score: str) -> None:
        if "error" in outcome.record:
            report_failure(outcome.record["id"], outcome.record["error"])
        bar.total = bar.n + left + 1
        bar.set_postfix_str(score, refresh=False)
        bar.update()

    with tqdm(unit="image", disable=None) as bar:
        points = [Plan(out, settings) for out, settings in plans.items()]
        try:
            return evaluate(data, model, points, begin=begin, progress=progress, **options)
        except KeyboardInterrupt:
            bar.close()
            typer.echo(stopped(plans), err=True)
            raise


def stopped(plans: Collection[Path]) -> str:
    """Return what is saved of runs that were interrupted."""
    saved = sum(1 for out in plans for _ in (out / "images").glob("*.json"))
    where = printable(", ".join(map(str, plans)))
    return f"carlab: stopped; {saved} records are saved in {where}, and the same command goes on there"


def finish(done: Sequence["Summary"], form: str = "text") -> None:
    """Print the numbers; exit code 1 if an image failed."""
    from carlab.evaluate.report import render

    typer.echo(render(done, form))
    if any(summary.failed for summary in done):
        raise typer.Exit(1)
