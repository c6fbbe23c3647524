"""The controls of the Lab, made from the table of settings: from values to a `LabState`, and back."""

from collections.abc import Callable, Mapping, Sequence
from math import isinf
from typing import Any

import ipywidgets as widgets

from carlab.settings import NONE, SETTINGS, Setting
from carlab.widgets.base import quietly, rows
from carlab.widgets.lab.state import LabState

WIDE = {"width": "330px"}
HIDDEN = ("batch", "refer", "background_weight")
"""Settings without a control."""


class Controls(widgets.VBox):
    """Queries, preset, and a control for each setting; `changed` is called with every new state.

    Parameters
    ----------
    state
        What to show first.
    defaults
        The preset's own settings, by key (`carlab.settings.current`).
    presets
        Names to choose from.
    """

    def __init__(
        self, state: LabState, defaults: Mapping[str, Any], presets: Sequence[str], **options: Any
    ) -> None:
        self.changed: Callable[[LabState], None] = lambda state: None
        self.defaults = defaults
        self._quiet = False
        self.queries = widgets.Textarea(description="queries", rows=5, continuous_update=False, layout=WIDE)
        self.preset = widgets.Dropdown(description="preset", options=presets, layout=WIDE)
        self.reset = widgets.Button(description="reset", tooltip="back to the preset's settings")
        self.settings = {row.key: control(row) for row in SETTINGS.values() if row.name not in HIDDEN}
        boxes = [one for one in self.settings.values() if isinstance(one, widgets.Checkbox)]
        others = [one for one in self.settings.values() if one not in boxes]
        super().__init__([self.queries, *others, rows(*boxes), self.preset, self.reset], **options)
        self.show(state)
        for one in self.inputs():
            one.observe(self._changed, names="value")
        self.reset.on_click(lambda _: self._reset())

    def inputs(self) -> tuple[Any, ...]:
        """Return every control that holds a value."""
        return (self.queries, self.preset, *self.settings.values())

    def state(self) -> LabState:
        """Return the state on the screen; a setting that equals the preset's own is left to the preset."""
        names = tuple(line.strip() for line in self.queries.value.splitlines() if line.strip())
        values = {key: value_of(key, one) for key, one in self.settings.items() if not one.disabled}
        changed = {key: value for key, value in values.items() if value != self.defaults[key]}
        return LabState(names, self.preset.value).but(**changed)

    def show(self, state: LabState) -> None:
        """Set the controls to a state, without calling `changed`."""
        with quietly(self):
            self.queries.value = "\n".join(state.queries)
            self.preset.value = state.preset
            for key, one in self.settings.items():
                value = state.settings.get(key, self.defaults[key])
                show_value(key, one, value)

    def _changed(self, _: Any) -> None:
        if not self._quiet:
            self.changed(self.state())

    def _reset(self) -> None:
        state = self.state()
        self.show(LabState(state.queries, state.preset))
        self.changed(self.state())


def control(row: Setting) -> Any:
    """Return the control of a setting, chosen by its kind and range."""
    if row.name == "max_steps":
        return widgets.Checkbox(description="recurrence", indent=False)
    if row.name == "prompter":
        return widgets.SelectMultiple(description="prompts", options=row.choices, rows=4, layout=WIDE)
    if row.kind is bool:
        return widgets.Checkbox(description=row.meaning.rstrip("."), indent=False)
    if row.kind is float and not isinf(row.high):
        return widgets.FloatSlider(
            min=row.low, max=row.high, step=0.01, description=row.name, layout=WIDE, readout_format=".2f"
        )
    if row.open:
        return widgets.Combobox(
            description=row.name,
            options=row.choices,
            ensure_option=False,
            continuous_update=False,
            layout=WIDE,
        )
    return widgets.ToggleButtons(
        description=row.name, options=row.choices, style={"button_width": "70px"}, layout=WIDE
    )


def value_of(key: str, one: Any) -> Any:
    """Return the setting's value that a control shows; None leaves it to the preset."""
    if key == "max_steps":
        return None if one.value else 1
    if key == "prompter":
        return "+".join(name for name in one.options if name in one.value) or None
    if isinstance(one.value, str):
        return one.value.strip() or NONE
    return round(one.value, 4) if isinstance(one.value, float) else one.value


def show_value(key: str, one: Any, value: Any) -> None:
    """Show a setting's value; a control whose setting the model lacks is disabled."""
    if key == "max_steps":
        one.value = value is None
    elif key == "prompter":
        one.value = tuple(value.split("+")) if value else ()
    else:
        one.disabled = value is None
        if value is not None:
            one.value = value
