"""Recompute the traces of one image of a run: the preset, with every setting as the manifest has it."""

import os
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from importlib import import_module
from typing import Any

from carlab.datasets.protocol import Dataset
from carlab.datasets.registry import load_dataset
from carlab.errors import DatasetError, QueryError, RunError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.scoring import runs_of
from carlab.evaluate.work import Load
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from carlab.trace.comparison import differences
from carlab.trace.provenance import settings

ELSEWHERE = {"device", "batch", "name"}
"""Fields that say where a run computed, or that change no result."""
STAGES = ("proposer", "affinity", "prompter", "classifier", "filter", "refiner", "regions")
"""Modules of `carlab.stages` whose dataclasses a manifest names."""


def recompute(folder: RunFolder, identity: str, dataset: Dataset, load: Load) -> list[Trace]:
    """Return the traces of an image, in the order of its runs, as `Keeper` would have kept them.

    Raises RunError if the model that is loaded cannot be given the settings of the run, and CarlabError as a
    call of the model does. Expressions that the model cannot read have no trace, as in the run.

    Parameters
    ----------
    folder, identity
        The run, and the id of one of its images.
    dataset, load
        Of `run_dataset`, and what loads the model: a preset with the backbones of the run.
    """
    models = run_models(folder.manifest, load())
    sample, traces = dataset.find(identity), []
    for number, queries in runs_of(dataset, sample):
        try:
            if queries:
                background = dataset.passes[number].background
                traces.append(models[number](sample.image, queries, background=background))
        except QueryError:
            if dataset.kind == "semantic":
                raise
    return traces


def run_dataset(folder: RunFolder, root: str | os.PathLike[str]) -> Dataset:
    """Return the data set of a run, from a folder that holds it.

    Raises DatasetError if it is not there, or is another than the run's.

    Parameters
    ----------
    folder, root
        The run, and what `load_dataset` takes.
    """
    known = folder.manifest["dataset"]
    data = replace(load_dataset(known["name"], root, known["split"]), labels_given=known["labels_given"])
    for one in (data, data.as_released()):
        if one.digest() == known["digest"]:
            return one
    raise DatasetError(
        f"expected {known['name']} {known['split']} as the run in {str(folder.path)!r} read it, got other "
        f"images, classes or queries in {str(root)!r}; give the root of the same release"
    )


def run_models(manifest: Mapping[str, Any], model: ClipAsRnn) -> list[ClipAsRnn]:
    """Return the model of each pass of a run, made of a loaded one.

    Raises RunError if a setting or the weights of the run are not those of the model, and cannot be set.

    Parameters
    ----------
    manifest, model
        Of the run; and a model with its backbones, whatever its settings.

    Examples
    --------
    >>> wanted = settings(replace(model, mask_threshold=0.7))
    >>> run_models({"models": [wanted]}, model)[0].mask_threshold
    0.7
    """
    made = []
    for wanted in manifest["models"]:
        one: ClipAsRnn = _rebuilt(model, wanted)
        left = differences(_plain(wanted), _plain(settings(one)))
        if left:
            shown = "; ".join(f"{name}: {was!r} in the run, {now!r} here" for name, was, now in left[:3])
            raise RunError(
                f"expected a model that can be set as in the run, got another ({shown}); "
                "give the same backbones and stages"
            )
        made.append(one)
    return made


def _rebuilt(part: Any, wanted: Any) -> Any:
    """Return a stage, or a field of one, that `settings` describes as wanted; weights stay as they are."""
    if settings(part) == wanted:
        return part
    if isinstance(wanted, list):
        return tuple(_rebuilt(None, item) for item in wanted)
    if not isinstance(wanted, Mapping):
        named = isinstance(wanted, str) and not isinstance(part, str | None)
        return part if named else wanted  # a function is described by its name
    if "stage" not in wanted:
        return part  # frozen weights
    inner = {
        name: _rebuilt(getattr(part, name, None), item)
        for name, item in wanted.items()
        if name != "stage" and name not in ELSEWHERE
    }
    if type(part).__name__ == wanted["stage"]:
        return replace(part, **inner)
    kind = _stages().get(wanted["stage"])
    return part if kind is None else kind(**inner)


def _stages() -> dict[str, Any]:
    """Return the dataclasses that carlab's stages are made of, by name."""
    from carlab.stages.prompter import PROMPTS

    modules = [import_module(f"carlab.stages.{name}") for name in STAGES]
    found = {name: kind for module in modules for name, kind in vars(module).items() if is_dataclass(kind)}
    return found | {kind.__name__: kind for kind in PROMPTS.values()}


def _plain(value: Any) -> Any:
    """Return settings without the fields that say where they were computed."""
    if isinstance(value, Mapping):
        return {
            name: _plain(item) for name, item in value.items() if name not in ELSEWHERE or "sha256" in value
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value
