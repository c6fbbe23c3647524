"""The controls of the Lab: from what a user sets to a `LabState`, and back."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from carlab.changes import NO_REGIONS, Changes
from carlab.queries import BACKGROUNDS
from carlab.stages.regions import SAM_HQ, SUPERPIXELS
from carlab.widgets.base import quietly, rows
from carlab.widgets.state import LabState

PROMPTS = ("circle", "contour", "rectangle", "blur", "grey", "black", "crop")
WIDE = {"width": "330px"}


class Controls(widgets.VBox):
    """Words, thresholds, prompts, background, refiner, preset; `changed` is called with every new state."""

    def __init__(self, state: LabState, defaults: Changes, presets: Sequence[str], **options: Any) -> None:
        self.changed: Callable[[LabState], None] = lambda state: None
        self._quiet = False
        self.queries = widgets.Textarea(description="queries", rows=5, continuous_update=False, layout=WIDE)
        self.background = widgets.Combobox(
            description="background", options=[*BACKGROUNDS, "none"], ensure_option=False,
            continuous_update=False, layout=WIDE,
        )  # fmt: skip
        self.preset = widgets.Dropdown(description="preset", options=presets, layout=WIDE)
        self.theta, self.eta, self.box = (
            widgets.FloatSlider(min=0, max=1, step=0.01, description=name, layout=WIDE, readout_format=".2f")
            for name in ("theta", "eta", "lambda")
        )
        self.prompts = widgets.SelectMultiple(description="prompts", options=PROMPTS, rows=4, layout=WIDE)
        self.keep_best = widgets.Checkbox(description="keep the best when none passes", indent=False)
        self.recurrence = widgets.Checkbox(description="recurrence", indent=False)
        self.refiner = widgets.ToggleButtons(options=("crf", "none"), style={"button_width": "70px"})
        self.regions = widgets.Combobox(
            description="regions", options=[NO_REGIONS, SUPERPIXELS, SAM_HQ], ensure_option=False,
            continuous_update=False, layout=WIDE,
        )  # fmt: skip
        self.reset = widgets.Button(description="reset", tooltip="back to the preset's settings")
        super().__init__(
            [
                self.queries, self.background, self.theta, self.eta, self.box, self.prompts,
                rows(self.keep_best, self.recurrence), rows(widgets.Label("refiner"), self.refiner),
                self.regions, self.preset, self.reset,
            ],
            **options,
        )  # fmt: skip
        self.defaults = defaults
        self.show(state)
        for control in self.inputs():
            control.observe(self._told, names="value")
        self.reset.on_click(lambda _: self._reset())

    def inputs(self) -> tuple[Any, ...]:
        """Every control that holds a value."""
        return (
            self.queries, self.background, self.theta, self.eta, self.box, self.prompts, self.keep_best,
            self.recurrence, self.refiner, self.regions, self.preset,
        )  # fmt: skip

    def state(self) -> LabState:
        """What is set now; what equals the preset's own setting is left to the preset."""
        d = self.defaults
        values = {
            "theta": round(self.theta.value, 4),
            "eta": round(self.eta.value, 4),
            "box": round(self.box.value, 4),
            "prompter": "+".join(self.prompts.value) or None,
            "background": self.background.value.strip() or "none",
            "refiner": self.refiner.value,
            "regions": self.regions.value.strip() or NO_REGIONS,
            "keep_best": self.keep_best.value,
            "max_steps": None if self.recurrence.value else 1,
        }
        kept = {name: value for name, value in values.items() if value != getattr(d, name)}
        words = tuple(line.strip() for line in self.queries.value.splitlines() if line.strip())
        return LabState(words, self.preset.value, Changes(**kept))

    def show(self, state: LabState) -> None:
        """Set the controls to a state, telling nobody."""
        c, d = state.changes, self.defaults

        def either(name: str) -> Any:
            value = getattr(c, name)
            return getattr(d, name) if value is None else value

        with quietly(self):
            self.queries.value = "\n".join(state.queries)
            self.preset.value = state.preset
            self.theta.value, self.eta.value, self.box.value = either("theta"), either("eta"), either("box")
            self.prompts.value = tuple(either("prompter").split("+")) if either("prompter") else ()
            self.background.value = either("background")
            self.refiner.value = either("refiner")
            self.regions.value = either("regions")
            self.keep_best.value = either("keep_best")
            self.recurrence.value = c.max_steps is None

    def _told(self, _: Any) -> None:
        if not self._quiet:
            self.changed(self.state())

    def _reset(self) -> None:
        state = self.state()
        self.show(LabState(state.queries, state.preset))
        self.changed(self.state())
