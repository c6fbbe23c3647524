"""The controls of the Lab, made from the table of settings: from values to a `LabState`, and back."""

from collections.abc import Callable, Mapping, Sequence
from math import isinf
from typing import Any

import ipywidgets as widgets

from carlab.settings import NONE, SETTINGS, Setting
from carlab.widgets.base import rows, unobserved
from carlab.widgets.lab.state import LabState

WIDE = {"width": "330px"}
HIDDEN = ("batch",)
"""Settings without a control: it changes no result."""


class Controls(widgets.VBox):
    """Queries, preset, and a control for each setting.

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
        self.queries = widgets.Textarea(description="queries", rows=5, continuous_update=False, layout=WIDE)
        self.preset = widgets.Dropdown(description="preset", options=presets, layout=WIDE)
        self.reset = widgets.Button(description="reset", tooltip="back to the preset's settings")
        self.settings = {row.key: control(row) for row in SETTINGS.values() if row.name not in HIDDEN}
        boxes = [one for one in self.settings.values() if isinstance(one, widgets.Checkbox)]
        others = [one for one in self.settings.values() if one not in boxes]
        super().__init__([self.queries, *others, rows(*boxes), self.preset, self.reset])
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

    def _changed(self, _: Any) -> None:
        self.changed(self.state())

    def _reset(self, _: Any) -> None:
        state = self.state()
        self.show(LabState(state.queries, state.preset))
        self.changed(self.state())


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
    if row.kind is bool or row.name == "max_steps":
        name = "recurrence" if row.name == "max_steps" else row.meaning.rstrip(".")
        return widgets.Checkbox(description=name, indent=False)
    look: dict[str, Any] = {"description": row.name, "layout": WIDE}
    if row.kind is float and not isinf(row.high):
        return widgets.FloatSlider(min=row.low, max=row.high, step=0.01, readout_format=".2f", **look)
    if row.kind in (int, float):
        field = widgets.IntText if row.kind is int else widgets.FloatText
        return field(style={"description_width": "initial"}, **look)
    look["options"] = tuple(row.choices)
    if row.name == "prompter":
        return widgets.SelectMultiple(rows=4, **{**look, "description": "prompts"})
    if row.open:
        return widgets.Combobox(ensure_option=False, continuous_update=False, **look)
    return widgets.ToggleButtons(style={"button_width": "70px"}, **look)


def _value_of(key: str, one: Any) -> Any:
    """Return the setting's value that a control shows; None leaves it to the preset."""
    if key == "max_steps":
        return None if one.value else 1
    if key == "prompter":
        return "+".join(name for name in one.options if name in one.value) or None
    if isinstance(one.value, str):
        return one.value.strip() or NONE
    return round(one.value, 4) if isinstance(one.value, float) else one.value


def _show_value(key: str, one: Any, value: Any) -> None:
    """Show a setting's value; a control whose setting the model lacks is disabled."""
    if key == "max_steps":
        value = value is None
    elif key == "prompter":
        value = tuple(value.split("+")) if value else ()
    one.disabled = value is None
    if value is not None:
        one.value = value
