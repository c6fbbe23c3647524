"""The controls of the Lab, made from the table of settings: from values to a `LabState`, and back."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import isinf
from typing import Any

import ipywidgets as widgets

from carlab.settings import NONE, SETTINGS, Setting
from carlab.widgets.base import html, unobserved
from carlab.widgets.lab.state import LabState

WIDE = {"width": "auto"}
"""A column stretches its children; 100 % and their margins would be wider than it."""
HIDDEN = ("batch",)
"""Settings without a control: it changes no result."""
CONTROL_GROUPS = {
    "What to look for": ("background", "background_weight", "refer"),
    "How to draw": ("proposer", "eta", "prompter", "affinity", "lambda"),
    "How to judge": ("theta", "keep_best", "max_steps", "score"),
    "How to refine": ("refiner", "regions"),
}
"""Settings by what they decide, in the order of the loop; one that is in none of them comes last."""
COSTS = {
    "arithmetic": ("theta", "keep_best", "max_steps", "score"),
    "the last masks": ("refiner", "regions"),
}
"""What a change computes anew; all others draw and encode prompted images."""
ENCODES = "encodes images"
NO_LIMIT = ("no limit", None)
MOST_BUTTONS = 6
"""Choices that are shown as buttons side by side; of more a list drops down."""


class Controls(widgets.VBox):
    """Preset, and a control for each setting; the queries as text, one a line.

    Parameters
    ----------
    state, presets
        What is shown first, and the presets to choose from.
    defaults
        The preset's own settings by key (`carlab.settings.current`).
    changed
        Called with every new state.
    """

    def __init__(
        self,
        state: LabState,
        defaults: Mapping[str, Any],
        presets: Sequence[str],
        changed: Callable[[LabState], None],
    ) -> None:
        self.defaults, self.changed = defaults, changed
        self.queries = widgets.Textarea(
            placeholder="one query a line", rows=6, continuous_update=False, layout=WIDE
        )
        self.preset = widgets.Dropdown(description="preset", options=presets, layout=WIDE)
        self.reset = widgets.Button(description="reset", tooltip="back to the preset's settings")
        self.settings = {row.key: control(row) for row in SETTINGS.values() if row.name not in HIDDEN}
        self.notes = {key: html() for key in self.settings}
        super().__init__([*self._groups(), self.reset])
        self.inputs = (self.queries, self.preset, *self.settings.values())
        for one in self.inputs:
            one.observe(self._changed, names="value")
        self.show(state)
        self.reset.on_click(self._reset)

    def state(self) -> LabState:
        """Return the state on the screen; a setting that equals the preset's own is left to the preset."""
        names = tuple(line.strip() for line in self.queries.value.splitlines() if line.strip())
        values = {key: _value_of(key, one) for key, one in self.settings.items() if not one.disabled}
        changed = {key: value for key, value in values.items() if value != self.defaults[key]}
        return LabState(names, self.preset.value).but(**changed)

    def show(self, state: LabState) -> None:
        """Set the controls to a state, without calling `changed`."""
        with unobserved(self._changed, *self.inputs):
            self.queries.value = "\n".join(state.queries)
            self.preset.value = state.preset
            for key, one in self.settings.items():
                _show_value(key, one, state.settings.get(key, self.defaults[key]))
        for row in SETTINGS.values():
            if row.key in self.notes:
                self.notes[row.key].value = _note(row, self.defaults[row.key], row.key in state.settings)

    def _groups(self) -> list[widgets.Widget]:
        """Return the groups, each with its heading, controls and lines of help."""
        left = [row.name for row in SETTINGS.values() if row.name not in HIDDEN]
        grouped = {title: [name for name in names if name in left] for title, names in CONTROL_GROUPS.items()}
        known = {name for names in grouped.values() for name in names}
        others = [name for name in left if name not in known]
        boxes: list[widgets.Widget] = []
        for title, names in {**grouped, **({"Others": others} if others else {})}.items():
            keys = [SETTINGS[name].key for name in names]
            children: list[widgets.Widget] = [html(f"<h4 style='margin:.6em 0 .2em'>{title}</h4>")]
            if not boxes:
                as_text = widgets.Accordion([self.queries], selected_index=None, titles=("queries as text",))
                children += [as_text, self.preset]
            for key in keys:
                children += [self.settings[key], self.notes[key]]
            boxes.append(widgets.VBox(children))
        return boxes

    def _changed(self, _: Any) -> None:
        self.changed(self.state())

    def _reset(self, _: Any) -> None:
        state = self.state()
        self.changed(LabState(state.queries, state.preset))


def control(row: Setting) -> Any:
    """Return the control of a setting, chosen by its kind and range.

    Parameters
    ----------
    row
        Of `carlab.settings.SETTINGS`.

    Examples
    --------
    >>> type(control(SETTINGS["theta"])).__name__, type(control(SETTINGS["keep_best"])).__name__
    ('FloatSlider', 'Checkbox')
    """
    if row.kind is bool:
        return widgets.Checkbox(description=row.name, indent=False)
    look: dict[str, Any] = {
        "description": row.name, "layout": WIDE, "style": {"description_width": "6.5em"}
    }  # fmt: skip
    if row.name == "max_steps":
        return widgets.Dropdown(options=[NO_LIMIT, *((str(n), n) for n in range(1, 11))], **look)
    if row.kind in (int, float):
        return _number(row, look)
    look["options"] = tuple(row.choices)
    if row.name == "prompter":
        return widgets.SelectMultiple(rows=len(row.choices), **{**look, "description": "prompts"})
    if row.open:
        return widgets.Combobox(ensure_option=False, continuous_update=False, **look)
    return _choice(look)


def _choice(look: dict[str, Any]) -> Any:
    if len(look["options"]) > MOST_BUTTONS:
        return widgets.Dropdown(**look)
    look["style"] = {**look["style"], "button_width": "auto"}
    return widgets.ToggleButtons(**look)


def _number(row: Setting, look: dict[str, Any]) -> Any:
    if row.kind is float and not isinf(row.high):
        return widgets.FloatSlider(min=row.low, max=row.high, step=0.01, readout_format=".2f", **look)
    field = widgets.IntText if row.kind is int else widgets.FloatText
    return field(**{**look, "style": {"description_width": "initial"}})


def _note(row: Setting, default: Any, changed: bool) -> str:
    """Return the line of help below a control: meaning, symbol, default, and what a change computes."""
    cost = next((cost for cost, names in COSTS.items() if row.name in names), ENCODES)
    value = NO_LIMIT[0] if default is None and row.name == "max_steps" else default
    named = ("on" if value else "off") if isinstance(value, bool) else str(value)
    unnamed = "default: that of the preset" if row.open else "this model has none"  # Crop(0.3), say
    standard = unnamed if value is None else f"default {named}"
    symbol = f" ({row.symbol})" if row.symbol not in ("", row.name) else ""
    shown = escape(row.meaning.rstrip(".") + symbol)
    mark = f"<b>changed, {escape(standard)}</b>" if changed else escape(standard)
    return f"<div style='font-size:12px;line-height:1.35;margin:-4px 0 4px'>{shown} · {mark} · {cost}</div>"


def _value_of(key: str, one: Any) -> Any:
    """Return the setting's value that a control shows; None leaves it to the preset."""
    if key == "prompter":
        return "+".join(name for name in one.options if name in one.value) or None
    if isinstance(one.value, str):
        return one.value.strip() or NONE
    return round(one.value, 4) if isinstance(one.value, float) else one.value


def _show_value(key: str, one: Any, value: Any) -> None:
    """Show a setting's value; a control whose setting the model lacks is disabled."""
    if key == "max_steps":
        if value not in [choice for _, choice in one.options]:
            one.options = [*one.options, (str(value), value)]
        one.value = value
        return
    if key == "prompter":
        value = tuple(value.split("+")) if value else ()
    one.disabled = value is None
    if value is not None:
        one.value = value
