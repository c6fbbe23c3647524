"""The live Lab: change any setting, and the result follows."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from carlab.errors import CarlabError
from carlab.settings import change, current
from carlab.trace import Trace
from carlab.trace.show import outcome
from carlab.widgets.base import alone, html, linked, rows
from carlab.widgets.compare import Compare
from carlab.widgets.inspector import ProbeInspector
from carlab.widgets.lab.controls import Controls
from carlab.widgets.lab.runner import Runner, StoppedError
from carlab.widgets.lab.state import LabState
from carlab.widgets.matrix import ScoreMatrix
from carlab.widgets.player import RecurrencePlayer
from carlab.widgets.scores import ScorePlot

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn

MOST_RUNS = 50
"""Runs that the history holds; the oldest is dropped first."""
COMPARE = 3
"""Index of the comparison among the tabs."""


class Lab(widgets.VBox):
    """Change queries, thresholds, prompts and refiner, and watch the recurrence change with them.

    Traits: `trace` (the latest, None before the first), `state` (its settings), `busy`. `wait()` blocks until
    the latest run is done: for scripts and tests.

    Parameters
    ----------
    image
        As `carlab.segment` takes it.
    queries
        Names to look for.
    preset
        Where the settings start; others can be chosen in the Lab.
    model
        A model of one's own, in place of a preset.
    record
        Patterns of probes to record, e.g. `["cam.*"]`.

    Raises
    ------
    ImageError
        If the image cannot be read. Later errors are shown in the Lab itself.

    Examples
    --------
    >>> Lab("cat.jpg", ["cat", "dog"])  # doctest: +SKIP
    """

    trace = traitlets.Instance(Trace, allow_none=True)
    state = traitlets.Instance(LabState)
    busy = traitlets.Bool(False)

    def __init__(
        self,
        image: Any,
        queries: Sequence[str],
        preset: str = "offline",
        *,
        model: "ClipAsRnn | None" = None,
        record: Sequence[str] = (),
        **options: Any,
    ) -> None:
        from carlab.hooks import check_patterns
        from carlab.photo import Photo
        from carlab.presets import PRESETS

        self.photo = Photo.of(image)
        self.path = str(image) if isinstance(image, str | Path) else None
        self.record = check_patterns(tuple(record))
        self.own_model = model
        self._models: dict[str, ClipAsRnn] = {} if model is None else {model.name: model}
        self.runner = Runner()
        self.runs: list[tuple[LabState, Trace]] = []
        self.pinned: Trace | None = None
        start = LabState(tuple(queries), preset if model is None else model.name)
        super().__init__(state=start, **options)
        self.controls = Controls(
            start, current(self._model(start.preset)), PRESETS if model is None else [model.name]
        )
        self.controls.changed = self.run
        self._build()
        self.run(self.controls.state())

    @alone
    def run(self, state: LabState) -> None:
        """Run a state as soon as possible; a later call supersedes it."""
        self.state = state
        self.source.value = state.code(self.path, self.own_model is not None)
        self.runner.submit(lambda stopped: self._run(state, stopped))

    def wait(self, timeout: float | int | None = None) -> bool:
        """Block until no run is left; False after `timeout` seconds."""
        return self.runner.wait(timeout)

    def _build(self) -> None:
        self.message = html()
        self.progress = widgets.IntProgress(min=0, max=1, layout={"width": "200px", "visibility": "hidden"})
        self.cancel = widgets.Button(description="cancel", layout={"visibility": "hidden", "width": "80px"})
        self.history = widgets.Select(description="runs", options=[], rows=6, layout={"width": "330px"})
        self.pin = widgets.Button(description="pin", tooltip="compare later runs with this one")
        self.source = widgets.Textarea(rows=8, disabled=False, layout={"width": "560px"})
        self.source.add_class("carlab-code")
        self.folder = widgets.Text("carlab-export", description="folder", layout={"width": "330px"})
        self.export = widgets.Button(description="export", tooltip="write the trace and its figures")
        self.views: tuple[Any, ...] = ()
        self.stage = widgets.VBox([html("loading the model …")])
        self.cancel.on_click(lambda _: self.runner.cancel())
        self.pin.on_click(lambda _: self._pin())
        self.export.on_click(lambda _: self._export())
        self.history.observe(self._back, names="value")
        left = widgets.VBox(
            [self.controls, rows(self.progress, self.cancel), self.history, self.pin],
            layout={"flex": "0 0 350px"},
        )
        right = widgets.VBox([self.message, self.stage], layout={"flex": "1 1 560px", "min_width": "0"})
        self.children = [rows(left, right, align_items="flex-start")]

    def _model(self, preset: str) -> "ClipAsRnn":
        from carlab.photo import Photo
        from carlab.presets import load

        if preset not in self._models:
            self._models = {preset: load(preset)}  # one at a time: two CLIPs may not fit
            self.photo = Photo(self.photo.image)  # whose cache would hold the old one
        return self._models[preset]

    def _run(self, state: LabState, stopped: Callable[[], bool]) -> None:
        """Run and show a state, in the runner's thread; errors are shown in place."""
        start = perf_counter()
        self.busy = True
        try:
            trace = self._trace(state, stopped)
            self._finish(state, trace, stopped, start)
        except StoppedError:
            self._report(state, "stopped")
        except CarlabError as error:
            self._report(state, str(error), wrong=True)
        except Exception as error:  # the thread must go on, and the user must see it
            self._report(state, f"{type(error).__name__}: {error}", wrong=True)
        finally:
            self.busy = False
            self.progress.layout.visibility = self.cancel.layout.visibility = "hidden"

    def _trace(self, state: LabState, stopped: Callable[[], bool]) -> Trace:
        from carlab.hooks import watching

        def watch(stage: str, done: int, of: int) -> None:
            if stopped():
                raise StoppedError
            if stage == "refine":
                self._say("refining …")
            else:
                self.progress.max, self.progress.value = of, done
                self.progress.layout.visibility = self.cancel.layout.visibility = "visible"

        base = self._model(state.preset)
        self.controls.defaults = current(base)
        model = change(base, **state.settings)
        with watching(watch):
            return model(self.photo, state.queries, record=self.record)

    @alone
    def _finish(self, state: LabState, trace: Trace, stopped: Callable[[], bool], start: float) -> None:
        if stopped() and not self.runner.waiting:
            raise StoppedError  # cancelled at the last moment, or another run was chosen in the history
        self.show(state, trace)
        self._say(f"{outcome(trace)} · {1000 * (perf_counter() - start):.0f} ms")

    @alone
    def _report(self, state: LabState, text: str, wrong: bool = False) -> None:
        if self.state is state:  # otherwise something else is shown, or about to be
            self._say(text, wrong)

    @alone
    def show(self, state: LabState, trace: Trace) -> None:
        """Show a trace in every view, and add it to the history."""
        self.trace = trace
        others = [run for run in self.runs if run[0] != state]
        self.runs = [*others[1 - MOST_RUNS :], (state, trace)]
        self._list()
        if not self.views:
            self.views = (
                RecurrencePlayer(trace), ScorePlot(trace), ScoreMatrix(trace), ProbeInspector(trace),
            )  # fmt: skip
            player, scores, matrix, inspector = self.views
            linked(*self.views)
            hint = html("<p>Pin a run to compare later ones with it.</p>")
            self.comparison = widgets.VBox([hint])
            self.tabs = widgets.Tab([scores, matrix, inspector, self.comparison, self._code_tab()])
            self.tabs.titles = ("scores", "confusion", "probes", "compare", "code and export")
            self.tabs.observe(lambda _: self._draw_open_tab(), names="selected_index")
            self.stage.children = [player, self.tabs]
            self._draw_open_tab()
        self._show(trace)

    def _show(self, trace: Trace) -> None:
        for view in self.views:
            view.trace = trace
        self._show_difference(trace)

    def _code_tab(self) -> widgets.VBox:
        note = html("The Python that makes this trace:")
        return widgets.VBox([note, self.source, rows(self.folder, self.export)])

    @alone
    def _draw_open_tab(self) -> None:
        """Draw the view behind the open tab, and none behind the others."""
        for place, view in enumerate(self.views[1:]):
            view.visible = place == self.tabs.selected_index
        if self.trace is not None:
            self._show_difference(self.trace)

    def _show_difference(self, trace: Trace) -> None:
        if self.pinned is None or self.tabs.selected_index != COMPARE:
            return
        (shown,) = self.comparison.children
        if isinstance(shown, Compare):
            shown.show(self.pinned, trace)
        else:
            self.comparison.children = [Compare(self.pinned, trace, ("pinned", "now"))]

    def _list(self) -> None:
        self.history.unobserve(self._back, names="value")
        self.history.options = [(f"{n}. {state}", n - 1) for n, (state, _) in enumerate(self.runs, 1)]
        self.history.value = len(self.runs) - 1
        self.history.observe(self._back, names="value")

    @alone
    def _back(self, choice: Any) -> None:
        """Show an earlier run; nothing is computed again."""
        if choice["new"] is None:
            return
        state, trace = self.runs[choice["new"]]
        self.runner.cancel()
        self.controls.show(state)
        self.state, self.trace = state, trace
        self.source.value = state.code(self.path, self.own_model is not None)
        self._show(trace)
        self._say(outcome(trace))

    @alone
    def _pin(self) -> None:
        if self.trace is not None:
            self.pinned = self.trace
            self._show_difference(self.trace)  # where the tab is open already
            self.tabs.selected_index = COMPARE

    def _export(self) -> None:
        from carlab.figures import save_figures
        from carlab.files.archive import make_folder

        if self.trace is None:
            return
        try:
            folder = make_folder(self.folder.value)
            self.trace.save(folder / "trace.safetensors")
            save_figures(self.trace, folder)
            (folder / "run.py").write_text(self.source.value, encoding="utf-8")
        except (CarlabError, OSError) as error:
            self._say(str(error), wrong=True)
            return
        self._say(f"written: trace.safetensors, three figures and run.py in {folder}")

    def _say(self, text: str, wrong: bool = False) -> None:
        look = "color:#d55e00;font-weight:600" if wrong else "opacity:.8"
        self.message.value = f"<div role='status' dir='auto' style='{look}'>{escape(text)}</div>"
