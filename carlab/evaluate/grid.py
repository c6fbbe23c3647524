"""Parse a grid of settings from texts such as `theta=.3,.4` and `prompter=circle,circle+blur`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from carlab.errors import SettingError, as_list, check_text
from carlab.settings import SETTINGS, SWITCH, WITHOUT_RECURRENCE

NAMES = ("recurrence", *SETTINGS)


@dataclass(frozen=True)
class Variant:
    """One point of a grid: its name, also that of its folder, and the settings it changes."""

    name: str
    settings: Mapping[str, Any]


def variants(grid: Sequence[str], *, each: bool = False) -> list[Variant]:
    """Return every combination of the values; if `each`, the preset itself and then one change at a time.

    `recurrence=off` stands for `WITHOUT_RECURRENCE`; a prompter of several parts is joined with `+`; a custom
    list of background queries is not possible here. Raises SettingError if a text is not `name=value,...`, a
    setting is unknown or repeated, or a value is not allowed.
    """
    axes: dict[str, list[tuple[str, str]]] = {}
    for text in as_list(grid, "settings such as theta=.3,.4", SettingError):
        check_text("a setting such as theta=.3,.4", text)
        name, equals, values = text.partition("=")
        points = [(name, value) for value in values.split(",") if value]
        if not equals or not points or name in axes or len(set(points)) < len(points):
            raise SettingError(
                f"expected a setting with different values, once, such as theta=.3,.4, got {text!r}; "
                f"the settings are {', '.join(NAMES)}"
            )
        axes[name] = points
    changes = list(axes.values())
    combinations = [(), *((one,) for axis in changes for one in axis)] if each else list(product(*changes))
    return [
        Variant(
            " ".join(f"{name}={value}" for name, value in point) or "base",
            {key: changed for name, value in point for key, changed in _parsed(name, value).items()},
        )
        for point in combinations
    ]


def _parsed(name: str, value: str) -> dict[str, Any]:
    """Return the settings that `name=value` changes, by `Setting.key`."""
    if name == "recurrence" and value in SWITCH:
        return {} if SWITCH[value] else dict(WITHOUT_RECURRENCE)
    try:
        return {SETTINGS[name].key: SETTINGS[name].parse(value)}
    except (KeyError, ValueError) as error:
        raise SettingError(
            f"expected a setting out of {', '.join(NAMES)} with a value that fits it, got {name}={value}; "
            "such as theta=.3,.4 recurrence=on,off prompter=circle,circle+blur"
        ) from error
