"""The live laboratory: set anything, and the result follows."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from carlab.display import outcome
from carlab.errors import CarlabError
from carlab.trace import Trace
from carlab.widgets.base import alone, html, linked, rows
from carlab.widgets.compare import Compare
from carlab.widgets.controls import PROMPTS, Controls
from carlab.widgets.inspector import ProbeInspector
from carlab.widgets.matrix import ScoreMatrix
from carlab.widgets.player import RecurrencePlayer
from carlab.widgets.runner import Runner, StoppedError
from carlab.widgets.scores import ScorePlot
from carlab.widgets.state import LabState

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn, Prepared

MOST_RUNS = 50
"""Runs that the history holds; the oldest goes first."""
COMPARE = 3
"""Place of the comparison among the tabs."""


class Lab(widgets.VBox):
    """Change words, thresholds, prompts and refiner, and watch the recurrence change with them.

    Parameters
    ----------
    photo
        As `carlab.segment` takes it.
    queries
        What to look for.
    preset
        Where the settings start; others can be chosen in the Lab.
    model
        A model of one's own, in place of a preset.
    record
        Patterns of probes to look at, e.g. `["cam.*"]`.

    Traits: `trace` (the latest, None before the first), `state` (what it was made with), `busy`.
    `wait()` blocks until the latest wish is fulfilled: for scripts and tests.

    Raises
    ------
    ImageError
        If the photo cannot be read. Everything later is told in the Lab itself.
    """

    trace = traitlets.Instance(Trace, allow_none=True)
    state = traitlets.Instance(LabState)
    busy = traitlets.Bool(False)

    def __init__(
        self,
        photo: Any,
        queries: Sequence[str],
        preset: str = "offline",
        *,
        model: "ClipAsRnn | None" = None,
        record: Sequence[str] = (),
        **options: Any,
    ) -> None:
        from carlab.images import load_image
        from carlab.presets import PRESETS
        from carlab.probes import check_patterns

        self.image = load_image(photo)
        self.path = str(photo) if isinstance(photo, str | Path) else None
        self.record = check_patterns(tuple(record))
        self.own_model = model
        self._models: dict[str, ClipAsRnn] = {} if model is None else {model.name: model}
        self._prepared: Prepared | None = None
        self.runner = Runner()
        self.runs: list[tuple[LabState, Trace]] = []
        self.pinned: Trace | None = None
        start = LabState(tuple(queries), preset if model is None else model.name)
        super().__init__(state=start, **options)
        self.controls = Controls(
            start, defaults_of(self._model(start.preset)), PRESETS if model is None else [model.name]
        )
        self.controls.changed = self.wish
        self._build()
        self.wish(self.controls.state())

    @alone
    def wish(self, state: LabState) -> None:
        """Run this state as soon as possible; a later wish overtakes it."""
        self.state = state
        self.source.value = state.code(self.path, self.own_model is not None)
        self.runner.submit(lambda stopped: self._run(state, stopped))

    def wait(self, timeout: float | int | None = None) -> bool:
        """Block until nothing is left to do; False after `timeout` seconds."""
        return self.runner.wait(timeout)

    def _build(self) -> None:
        self.message = html()
        self.progress = widgets.IntProgress(min=0, max=1, layout={"width": "200px", "visibility": "hidden"})
        self.cancel = widgets.Button(description="cancel", layout={"visibility": "hidden", "width": "80px"})
        self.history = widgets.Select(description="runs", options=[], rows=6, layout={"width": "330px"})
        self.pin = widgets.Button(description="pin", tooltip="compare what comes next with this run")
        self.source = widgets.Textarea(rows=8, disabled=False, layout={"width": "560px"})
        self.source.add_class("carlab-code")
        self.folder = widgets.Text("carlab-export", description="folder", layout={"width": "330px"})
        self.export = widgets.Button(description="export", tooltip="write the trace and its figures")
        self.views: tuple[Any, ...] = ()
        self.stage = widgets.VBox([html("loading the model …")])
        self.cancel.on_click(lambda _: self._cancel())
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
        from carlab.presets import load

        if preset not in self._models:
            self._models = {preset: load(preset)}  # one at a time: two CLIPs may not fit
        return self._models[preset]

    def _run(self, state: LabState, stopped: Callable[[], bool]) -> None:
        """In the runner's thread: prepare what is missing, run, show; errors are shown in place."""
        start = perf_counter()
        self.busy = True
        try:
            trace = self._trace(state, stopped)
            self._finish(state, trace, stopped, start)
        except StoppedError:
            self._answer(state, "stopped")
        except CarlabError as error:
            self._answer(state, str(error), wrong=True)
        except Exception as error:  # the thread must live on, and the user must see it
            self._answer(state, f"{type(error).__name__}: {error}", wrong=True)
        finally:
            self.busy = False
            self.progress.layout.visibility = self.cancel.layout.visibility = "hidden"

    def _trace(self, state: LabState, stopped: Callable[[], bool]) -> Trace:
        from carlab.probes import record
        from carlab.progress import watching

        def watch(stage: str, done: int, of: int) -> None:
            if stopped():
                raise StoppedError
            if stage == "refine":
                self._say("refining …")
            else:
                self.progress.max, self.progress.value = of, done
                self.progress.layout.visibility = self.cancel.layout.visibility = "visible"

        base = self._model(state.preset)
        self.controls.defaults = defaults_of(base)
        model = state.changes.apply(base)
        with watching(watch), record(*self.record):
            return self._ready(base, state.queries).run(**stages_of(model))

    def _ready(self, base: "ClipAsRnn", queries: Sequence[str]) -> "Prepared":
        """The photo after its trunk pass: of this model, with these queries."""
        if self._prepared is None or self._prepared.model is not base:
            self._prepared = base.prepare(self.image, queries)
        elif self._prepared.queries != tuple(queries):
            self._prepared = self._prepared.ask(queries)
        return self._prepared

    @alone
    def _finish(self, state: LabState, trace: Trace, stopped: Callable[[], bool], start: float) -> None:
        if stopped() and not self.runner.waiting:
            raise StoppedError  # cancelled at the last moment, or another run was gone back to
        self.show(state, trace)
        self._say(f"{outcome(trace)} · {1000 * (perf_counter() - start):.0f} ms")

    @alone
    def _answer(self, state: LabState, text: str, wrong: bool = False) -> None:
        if self.state is state:  # otherwise something else is shown, or about to be
            self._say(text, wrong)

    @alone
    def show(self, state: LabState, trace: Trace) -> None:
        """Show a trace in every view, and write it down in the history."""
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
            hint = html("<p>Pin a run, and what comes next is compared with it.</p>")
            self.comparison = widgets.VBox([hint])
            self.tabs = widgets.Tab([scores, matrix, inspector, self.comparison, self._code_tab()])
            self.tabs.titles = ("scores", "who reads as whom", "probes", "compare", "code and export")
            self.tabs.observe(lambda _: self._look(), names="selected_index")
            self.stage.children = [player, self.tabs]
            self._look()
        for view in self.views:
            view.trace = trace
        self._show_difference(trace)

    def _code_tab(self) -> widgets.VBox:
        note = html("The Python that makes this trace:")
        return widgets.VBox([note, self.source, rows(self.folder, self.export)])

    @alone
    def _look(self) -> None:
        """Draw what stands behind the open tab, and nothing behind the others."""
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
    def _back(self, change: Any) -> None:
        """Go back to a run: nothing is computed again."""
        if change["new"] is None:
            return
        state, trace = self.runs[change["new"]]
        self.runner.cancel()
        self.controls.show(state)
        self.state, self.trace = state, trace
        self.source.value = state.code(self.path, self.own_model is not None)
        for view in self.views:
            view.trace = trace
        self._show_difference(trace)
        self._say(outcome(trace))

    def _cancel(self) -> None:
        self.runner.cancel()

    @alone
    def _pin(self) -> None:
        if self.trace is not None:
            self.pinned = self.trace
            self._show_difference(self.trace)  # where the tab is open already
            self.tabs.selected_index = COMPARE

    def _export(self) -> None:
        from carlab.figures import overlay_figure, recurrence_figure, save_figure, scores_figure

        if self.trace is None:
            return
        try:
            folder = Path(self.folder.value)
            folder.mkdir(parents=True, exist_ok=True)
            self.trace.save(folder / "trace.safetensors")
            for name, draw in (
                ("overlay", overlay_figure),
                ("recurrence", recurrence_figure),
                ("scores", scores_figure),
            ):
                save_figure(draw(self.trace), folder / f"{name}.png")
            (folder / "run.py").write_text(self.source.value, encoding="utf-8")
        except (CarlabError, OSError) as error:
            self._say(str(error), wrong=True)
            return
        self._say(f"written: trace.safetensors, three figures and run.py in {folder}")

    def _say(self, text: str, wrong: bool = False) -> None:
        look = "color:#d55e00;font-weight:600" if wrong else "opacity:.8"
        self.message.value = f"<div role='status' dir='auto' style='{look}'>{escape(text)}</div>"


def stages_of(model: "ClipAsRnn") -> dict[str, Any]:
    """Every field of a model, to run a prepared photo with."""
    from dataclasses import fields

    return {field.name: getattr(model, field.name) for field in fields(model)}


def defaults_of(model: "ClipAsRnn") -> Any:
    """The model's own settings, in the words of the controls; None where it has no such setting."""
    from carlab.changes import NO_REGIONS, Changes
    from carlab.queries import BACKGROUNDS
    from carlab.stages.prompter import prompts
    from carlab.stages.refiner import NoRefiner

    names = (name for name in PROMPTS if prompts([name]) == model.prompter)
    known = next((name for name, words in BACKGROUNDS.items() if words == model.background), None)
    affinity = getattr(model.proposer, "affinity", None)
    refiner, regions = getattr(model.refiner, "base", model.refiner), getattr(model.refiner, "regions", None)
    return Changes(
        theta=getattr(model.filter, "theta", 0.0),
        eta=model.mask_threshold,
        box=getattr(affinity, "box_threshold", 0.0),
        prompter=next(names, None),
        background=known or ", ".join(model.background) or "none",
        refiner="none" if isinstance(refiner, NoRefiner) else "crf",
        regions=NO_REGIONS if regions is None else getattr(regions, "name", type(regions).__name__.lower()),
        keep_best=getattr(model.filter, "keep_best", False),
    )
