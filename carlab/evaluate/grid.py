"""A grid of settings, from words like `theta=.3,.4 prompter=circle,circle+blur`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from carlab.changes import Changes
from carlab.errors import SettingError

ALIASES = {"lambda": "box"}
SWITCH = {"on": True, "off": False, "true": True, "false": False}


@dataclass(frozen=True)
class Variant:
    """One point of a grid: its name, which is also its folder's, and the changes it makes."""

    name: str
    changes: Changes


def variants(grid: Sequence[str], base: Changes, *, each: bool = False) -> list[Variant]:
    """Every combination of the values given, on top of `base`.

    If `each`, `base` itself and then one change at a time. `recurrence=off` stands for one step in which
    nobody falls (the paper's ablation); a prompter of several parts is joined with `+`; a list of
    background words of one's own is not possible here.

    Raises
    ------
    SettingError
        If a word is not `name=value,...`, a setting is unknown or given twice, or a value unfit.
    """
    axes: dict[str, list[str]] = {}
    for word in grid:
        name, equals, values = word.partition("=")
        points = [value for value in values.split(",") if value]
        if not equals or not points or name in axes or len(set(points)) < len(points):
            raise SettingError(
                f"expected a setting with different values, once, such as theta=.3,.4, got {word!r}; "
                f"the settings are {', '.join(SETTINGS)}"
            )
        axes[name] = points
    single = [[(name, value) for value in values] for name, values in axes.items()]
    combinations = [(), *((point,) for axis in single for point in axis)] if each else list(product(*single))
    return [
        Variant(
            " ".join(f"{name}={value}" for name, value in point) or "base",
            Changes(
                **{**vars(base), **{k: v for name, value in point for k, v in parsed(name, value).items()}}
            ),
        )
        for point in combinations
    ]


def parsed(name: str, value: str) -> dict[str, Any]:
    """The fields of `Changes` that a setting names, and their values."""
    if name == "recurrence" and value in SWITCH:
        # Without the recurrence nothing is scored and nobody falls: what is left is f alone.
        return {} if SWITCH[value] else {"max_steps": 1, "theta": 0.0}
    field = ALIASES.get(name, name)
    kind = KINDS.get(field)
    try:
        if kind is bool:
            return {field: SWITCH[value]}
        if kind is not None:
            return {field: kind(value)}
    except (KeyError, ValueError):
        pass
    raise SettingError(
        f"expected a setting out of {', '.join(SETTINGS)} with a value that fits it, got {name}={value}; "
        "such as theta=.3,.4 recurrence=on,off prompter=circle,circle+blur"
    )


def _kind(annotation: Any) -> type:
    """`float` of `float | None`."""
    for kind in (bool, int, float, str):
        if annotation == kind or annotation == kind | None:
            return kind
    raise TypeError(annotation)


KINDS = {field.name: _kind(field.type) for field in fields(Changes)}
SETTINGS = ("recurrence", "lambda", *(name for name in KINDS if name != "box"))
