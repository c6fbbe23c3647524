"""What a run computes: a data set, and variants of one model, which is loaded where they are computed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carlab.datasets.protocol import Dataset
from carlab.presets import stuff_pass
from carlab.recurrence import ClipAsRnn
from carlab.settings import change

Load = Callable[[], ClipAsRnn]
"""Loads a model; it travels to other machines, so it is a function of a module, or a partial of one."""
Models = tuple[ClipAsRnn, ...]
"""A model for each pass over an image."""
Task = tuple[int, tuple[int, ...]]
"""The index of an image, and those of the variants to run on it."""


@dataclass(frozen=True)
class Outcome:
    """The record of one image in one variant, and a trace for each run that had queries."""

    index: int
    variant: int
    record: dict[str, Any]
    traces: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """Return a model that is in memory already, weights and all."""

    model: ClipAsRnn

    def __call__(self) -> ClipAsRnn:
        """Return the model."""
        return self.model


@dataclass(frozen=True)
class Work:
    """A data set, how to load the model, and the settings that each variant changes on it."""

    dataset: Dataset
    load: Load
    settings: Sequence[Mapping[str, Any]]

    def variants(self) -> list[Models]:
        """Load the model, and return that of each pass of each variant.

        Raises BackboneError or SettingError if that is not possible here.
        """
        model = self.load()
        return [_models(self.dataset, model, settings) for settings in self.settings]


def _models(dataset: Dataset, model: ClipAsRnn, settings: Mapping[str, Any]) -> Models:
    """Return the changed model of each pass; in referring data sets each expression competes alone."""
    fixed: dict[str, Any] = {} if dataset.kind == "semantic" else {"refer": True}
    if dataset.labels_given:
        fixed["theta"] = 0.0  # a class that is known to be present is not to be dropped
    return tuple(
        change(stuff_pass(model) if part.stuff else model, **{**settings, **fixed}) for part in dataset.passes
    )
