"""`carlab eval`: evaluate a model on a data set; stop it and go on at any time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from carlab.cli import options
from carlab.errors import SettingError
from carlab.trace.show import printable

if TYPE_CHECKING:
    from carlab.datasets import Dataset
    from carlab.evaluate.engine import Engine, Outcome
    from carlab.evaluate.summary import Summary
    from carlab.recurrence import ClipAsRnn


@options.with_settings("refer")
def evaluate(
    dataset: Annotated[str, typer.Argument(help="voc21, coco-object, ...; see carlab datasets.")],
    root: options.Root,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; an unfinished one goes on.")],
    split: options.Split = None,
    limit: options.Limit = None,
    preset: options.Preset = "offline",
    proposer: options.Proposer = None,
    classifier: options.Classifier = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    labels_given: Annotated[
        bool, typer.Option("--labels-given", help="Query only classes that are present: an upper bound.")
    ] = False,
    keep_traces: Annotated[str, typer.Option(help="all, none, or worst:NUMBER.")] = "worst:20",
    engine: Annotated[str, typer.Option(help="local, or ray for many machines.")] = "local",
    workers: Annotated[int, typer.Option(min=0, help="local: processes for the CRF; ray: models.")] = 1,
    together: options.Together = 4,
    **settings: Any,
) -> None:
    """Evaluate a preset, with any setting changed, on a data set."""
    given = {name: value for name, value in settings.items() if value is not None}
    loaded = Loaded.of(
        dataset, root, split, preset, proposer, classifier, device, dtype, labels_given=labels_given
    )
    done = run_all(loaded, {out: given}, limit, keep_traces, engine_named(engine, workers, together))
    finish(done)


class Loaded(NamedTuple):
    """The data and the model that the options name."""

    data: "Dataset"
    model: "ClipAsRnn"

    @classmethod
    def of(
        cls, dataset: str, root: Path, split: str | None, preset: str, proposer: str | None,
        classifier: str | None, device: str, dtype: str, *, labels_given: bool = False,
    ) -> "Loaded":  # fmt: skip
        """Load the data first: a wrong folder is an error before a model is loaded.

        The presets of CLIP query classes by the names of the released code.
        """
        from carlab.datasets import load_dataset
        from carlab.presets import load

        data = replace(load_dataset(dataset, root, split), labels_given=labels_given)
        data = data if preset.partition("/")[0] == "offline" else data.as_released()
        return cls(data, load(preset, proposer=proposer, classifier=classifier, device=device, dtype=dtype))


def engine_named(engine: str, workers: int, together: int) -> "Engine":
    """Return the engine that the options name.

    Raises
    ------
    SettingError
        If there is no such engine.
    """
    from carlab.evaluate.engine import run_here
    from carlab.evaluate.machines import run_on_ray

    if engine == "local":
        return partial(run_here, together=together, workers=workers)
    if engine == "ray":
        return partial(run_on_ray, workers=workers)
    raise SettingError(f"expected an engine out of local, ray, got {engine!r}; choose one of them")


def run_all(
    loaded: Loaded,
    plans: Mapping[Path, Mapping[str, Any]],
    limit: int | None,
    keep_traces: str,
    engine: "Engine",
) -> list["Summary"]:
    """Run every plan, with a progress bar and the score so far."""
    from tqdm import tqdm

    from carlab.evaluate.run import Plan, evaluate

    bar: "tqdm[Any]" = tqdm(unit="image", disable=None)

    def progress(left: int, outcome: "Outcome", score: str) -> None:
        record = outcome.record
        if "error" in record:
            bar.write(
                f"carlab: {printable(record['id'])}: {printable(record['error'])}",
                file=typer.get_text_stream("stderr"),
            )
        bar.total = bar.n + left + 1
        bar.set_postfix_str(score, refresh=False)
        bar.update()

    with bar:
        return evaluate(
            loaded.data, loaded.model, [Plan(out, settings) for out, settings in plans.items()],
            limit=limit, keep_traces=keep_traces, engine=engine, progress=progress,
        )  # fmt: skip


def finish(done: Sequence["Summary"], form: str = "text") -> None:
    """Print the numbers; exit code 1 if an image failed."""
    from carlab.evaluate.report import render

    typer.echo(render(done, form))
    if any(summary.failed for summary in done):
        raise typer.Exit(1)
