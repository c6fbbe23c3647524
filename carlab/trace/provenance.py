"""What made a trace: versions, weights, and every setting, as JSON values."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from typing import Any

VERSIONS = {"carlab": "clip-as-rnn-lab", **{name: name for name in ("torch", "transformers", "numpy")}}


def settings(value: Any) -> Any:
    """Return the fields of a stage, nested, with its class; of a backbone all but its weights.

    A stage that is no dataclass is given by its name: the same stage gives the same text in every process.

    Parameters
    ----------
    value
        A model, a stage, or a field of one.

    Examples
    --------
    >>> from carlab.stages.filter import Threshold
    >>> settings(Threshold(0.3))
    {'stage': 'Threshold', 'theta': 0.3, 'keep_best': True}
    """
    if hasattr(value, "sha256"):
        # The same weights may come from another file on another machine, and a run goes on there.
        plain = {field.name: getattr(value, field.name) for field in fields(value) if field.name != "source"}
        return {name: item for name, item in plain.items() if isinstance(item, str | int | float | None)}
    if is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: settings(getattr(value, field.name)) for field in fields(value)}
        return {"stage": type(value).__name__, **inner}
    if isinstance(value, Mapping):
        return {str(key): settings(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [settings(item) for item in value]
    if isinstance(value, str | int | float | bool | None):
        odd = isinstance(value, float) and not isfinite(value)  # JSON has no infinity
        return str(value) if odd else value
    named = value if hasattr(value, "__qualname__") else type(value)  # repr would hold a memory address
    return f"{named.__module__}.{named.__qualname__}"


def setting_in(made: Any, *names: str) -> Any:
    """Return a value of nested settings; None where there is none: a stage of one's own may be a text.

    Parameters
    ----------
    made, names
        Of `settings`, and the way to the value.

    Examples
    --------
    >>> setting_in({"filter": {"theta": 0.3}}, "filter", "theta")
    0.3
    >>> setting_in({"filter": "own.keep_all"}, "filter", "theta")
    """
    for name in names:
        made = made.get(name) if isinstance(made, Mapping) else None
    return made


def provenance(model: Any) -> dict[str, str]:
    """Return the versions of carlab and its libraries, backbones with their digests, and the CRF's engine.

    Parameters
    ----------
    model
        A `ClipAsRnn`.
    """
    made = {name: _version(distribution) for name, distribution in VERSIONS.items()}
    made["preset"] = model.name
    parts = ("proposer", "backbone"), ("classifier", "backbone"), ("refiner", "regions"), ("refiner", "sam")
    for stage, part in parts:
        frozen: Any = getattr(getattr(model, stage), part, None)
        if hasattr(frozen, "sha256"):
            made[f"{stage}.{part}"] = frozen.name
            made[f"{stage}.sha256"] = frozen.sha256
            if source := getattr(frozen, "source", ""):
                made[f"{stage}.source"] = source
    refiner: Any = getattr(model.refiner, "base", model.refiner)
    if hasattr(refiner, "chosen_engine"):
        made["refiner.engine"] = refiner.chosen_engine
    # A folder's name need not be UTF-8; JSON must be.
    return {name: text.encode(errors="backslashreplace").decode() for name, text in made.items()}


@cache
def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "unknown"


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and values of nested mappings and lists, as text.

    Parameters
    ----------
    value, name
        JSON values, and the dotted name of what holds them. A list without mappings is one leaf.

    Examples
    --------
    >>> list(leaves({"a": {"b": [1, 2]}, "c": [{"d": None}]}))
    [('a.b', '1, 2'), ('c.0.d', 'None')]
    """
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return
    for key, item in value.items():
        yield from leaves(item, f"{name}.{key}" if name else str(key))
