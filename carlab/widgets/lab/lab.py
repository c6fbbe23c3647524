"""The live Lab: change any setting, and the result follows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from carlab.errors import CarlabError
from carlab.figures.content import photo_content
from carlab.files.archive import make_folder
from carlab.hooks import check_patterns, watching
from carlab.photo import Photo
from carlab.settings import change, current
from carlab.trace import Trace
from carlab.trace.comparison import compare
from carlab.trace.show import outcome
from carlab.widgets.base import ALONE, html, link, rows, unobserved
from carlab.widgets.compare import differences_html
from carlab.widgets.front import Front, picture_bundle
from carlab.widgets.inspector import ProbeInspector
from carlab.widgets.lab.controls import Controls
from carlab.widgets.lab.film import Film
from carlab.widgets.lab.pointer import Pointer, Shown
from carlab.widgets.lab.runner import Runner, StoppedError
from carlab.widgets.lab.state import LabState
from carlab.widgets.palette import Palette
from carlab.widgets.player import RecurrencePlayer
from carlab.widgets.scores import ScoreMatrix

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn

MOST_RUNS = 50
"""Runs that the history holds; the oldest is dropped first."""
COMPARE = 2
"""Index of the comparison among the tabs."""
PINNED_AND_NOW = ("pinned", "now")
SCROLLED = {"max_height": "1000px", "overflow": "hidden auto"}
"""So that picture and scores stay in sight of the last control."""
NOTHING_PINNED = "<p>Pin a run to compare later ones with it.</p>"
SAMPLE_QUERIES = ("space shuttle", "flag", "bicycle", "dog", "sofa")
MOST_ALIKE = 2
"""Runs that a third must continue to take the place of the second."""


class Lab(widgets.VBox):
    """Change queries, thresholds, prompts and refiner, and watch the recurrence change with them.

    Traits: `trace`, the one shown, None before the first; `state`, its queries and settings, also after a
    later run failed or was cancelled; `busy`.

    Raises ImageError if the image cannot be read. Later errors are shown in the Lab itself.

    Parameters
    ----------
    image
        As `carlab.segment` takes it; or a folder, whose images are a strip to choose from. An image can also
        be dropped on the Lab, or pasted. By default a sample.
    queries
        Names to look for; by default, with the sample, some that fit it.
    preset, model
        Where the settings start: a preset, others can be chosen in the Lab, or a model of one's own.
    record
        Patterns of probes to record, e.g. `["cam.*"]`.

    Examples
    --------
    >>> lab = Lab(image, ["cat", "dog"], model=model)
    >>> lab.wait()
    True
    >>> lab.controls.settings["theta"].value = 0.9
    >>> lab.wait(), lab.trace.threshold
    (True, 0.9)
    """

    trace = traitlets.Instance(Trace, allow_none=True)
    state = traitlets.Instance(LabState)
    busy = traitlets.Bool(False)

    def __init__(
        self,
        image: Any = None,
        queries: Sequence[str] | None = None,
        preset: str = "offline",
        *,
        model: "ClipAsRnn | None" = None,
        record: Sequence[str] = (),
        **options: Any,
    ) -> None:
        from carlab.presets import PRESETS

        if queries is None:
            queries = SAMPLE_QUERIES if image is None else ()
        self.film = Film.of(image)
        self.photo, self.path = opened(self.film.sources[0])
        self.record = check_patterns(tuple(record))
        self.own_model = model
        self._models: dict[str, ClipAsRnn] = {} if model is None else {model.name: model}
        self.runner = Runner()
        self.runs: list[tuple[LabState, Trace]] = []
        self.pinned: Trace | None = None
        self.palette = Palette()
        self.views: tuple[Any, ...] = ()
        start = LabState(tuple(queries), preset if model is None else model.name)
        self._running = start
        super().__init__(state=start, **options)
        presets = PRESETS if model is None else [model.name]
        self.controls = Controls(start, current(self._model(start.preset)), presets, self.run)
        self._build()
        self.run(self.controls.state())

    def run(self, state: LabState) -> None:
        """Run a state as soon as possible, in place of one that is running; the controls show it."""
        with ALONE:
            self._running = state
            self.controls.show(state)
            self.runner.submit(lambda stopped: self._run(state, stopped))

    def wait(self, timeout: float | int | None = None) -> bool:
        """Block until no run is left, in scripts and tests; return False after `timeout` seconds."""
        return self.runner.wait(timeout) and (not self.views or self.pointer.runner.wait(timeout))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """Return the widget, and its picture for where there is no kernel."""
        bundle: dict[str, str] = super()._repr_mimebundle_(**options)
        return bundle | picture_bundle(self.player) if self.views else bundle

    def _build(self) -> None:
        self.message = html()
        self.progress = widgets.IntProgress(min=0, max=1, layout={"width": "200px", "visibility": "hidden"})
        self.cancel = widgets.Button(description="cancel", layout={"visibility": "hidden", "width": "80px"})
        self.history = widgets.Select(description="runs", options=[], rows=6, layout={"width": "330px"})
        self.pin = widgets.Button(description="pin", tooltip="compare later runs with this one")
        self.source = widgets.Textarea(rows=8, layout={"width": "560px"}).add_class("carlab-code")
        self.folder = widgets.Text("carlab-export", description="folder", layout={"width": "330px"})
        self.export = widgets.Button(description="export", tooltip="write the trace and its figures")
        preview = Front("picture", content=photo_content(self.photo.image), note="loading the model …")
        self._listen(preview)
        self.stage = widgets.VBox([preview], layout={"min_width": "0"})
        self.strip = Front("film", film=self.film.content(), droppable=True)
        self.strip.observe(self._chosen, names="shot")
        self.film.draw(self._show_film)
        self.cancel.on_click(lambda _: self.runner.cancel())
        self.pin.on_click(self._pin)
        self.export.on_click(self._export)
        self.history.observe(self._back, names="value")
        self.sent: Trace | None = None
        self.history.layout.width = self.folder.layout.width = "auto"
        runs = [rows(self.progress, self.cancel), self.history, self.pin]
        side = widgets.VBox(
            [*runs, self.controls], layout={"flex": "1 0 290px", "max_width": "340px", **SCROLLED}
        )
        main = widgets.VBox(
            [self.strip, self.message, self.stage], layout={"flex": "1000 1 560px", "min_width": "0"}
        )
        self.children = [rows(main, side, align_items="flex-start")]

    def _model(self, preset: str) -> "ClipAsRnn":
        from carlab.presets import load

        if preset not in self._models:
            self._models = {preset: load(preset)}  # one at a time: two CLIPs may not fit
            self.photo = Photo(self.photo.image)  # whose cache would hold the old one
        return self._models[preset]

    def _run(self, state: LabState, stopped: Callable[[], bool]) -> None:
        """Run and show a state, in the runner's thread; errors are shown in the Lab."""
        start = perf_counter()
        self.busy = True
        try:
            trace = self._trace(state, stopped)
            with ALONE:
                late = trace.image is not self.photo.image  # another was chosen meanwhile
                if late or (stopped() and not self.runner.waiting):  # at the last moment
                    raise StoppedError("stopped")
                self.show(state, trace)
                self._say(f"{outcome(trace)} · {1000 * (perf_counter() - start):.0f} ms")
        except Exception as error:  # the thread must stay alive, and the user must see the error
            kind = "" if isinstance(error, CarlabError | StoppedError) else f"{type(error).__name__}: "
            with ALONE:
                if self._running is state:  # otherwise another state is shown, or about to be
                    self._failed(f"{kind}{error}", stopped=isinstance(error, StoppedError))
        finally:
            self.busy = False
            self.progress.layout.visibility = self.cancel.layout.visibility = "hidden"

    def _failed(self, text: str, stopped: bool) -> None:
        """Say why there is no new trace, and leave no doubt about which one is shown."""
        if self.trace is not None:
            text += f" · still shown: {self.state}"
            self.player.front.wanted = list(self.trace.queries)
            if stopped:  # after an error the user corrects what was written; after a stop there is nothing to
                self._running = self.state
                self.controls.show(self.state)
        self._say(text, wrong=not stopped)

    def _trace(self, state: LabState, stopped: Callable[[], bool]) -> Trace:
        def watch(stage: str, done: int, of: int) -> None:
            if stopped():
                raise StoppedError("stopped")
            if stage == "refine":
                self._say("refining …")
            else:
                self.progress.max, self.progress.value = of, done
                self.progress.layout.visibility = self.cancel.layout.visibility = "visible"

        base = self._model(state.preset)
        defaults = current(base)
        if defaults != self.controls.defaults:  # those of another preset: its values must be shown
            with ALONE:
                self.controls.defaults = defaults
                self.controls.show(state)
        with watching(watch):
            return change(base, **state.settings)(self.photo, state.queries, record=self.record)

    def show(self, state: LabState, trace: Trace) -> None:
        """Show a trace in every view, and add it to the history."""
        with ALONE:
            others = [run for run in self.runs if run[0] != state]
            if continues(state, others):  # a slider that moves on is one change
                others.pop()
            self.runs = [*others[1 - MOST_RUNS :], (state, trace)]
            with unobserved(self._back, self.history):
                self.history.options = [(f"{n}. {state}", n - 1) for n, (state, _) in enumerate(self.runs, 1)]
                self.history.value = len(self.runs) - 1
            self._show(state, trace)

    def _show(self, state: LabState, trace: Trace) -> None:
        before = self.state
        self.state, self.trace = state, trace
        self.source.value = state.code(self.path, self.own_model is not None)
        if not self.views:
            self._build_views(trace)
        self.pointer.renew(state.differs(before))
        self._colour(trace)
        self.player.front.wanted = list(trace.queries)
        for view in self.views:
            view.trace = trace
        self._draw_open_tab()

    def _shown(self) -> Shown:
        assert self.trace is not None  # noqa: S101 - for the type checker
        model = change(self._model(self.state.preset), **self.state.settings)
        return Shown(model, self.photo, self.trace)

    def _colour(self, trace: Trace) -> None:
        """Give the queries of a trace the colours that they had, beside those of the pinned run."""
        beside = () if self.pinned is None else self.pinned.queries
        for view in (self.player, self.matrix):
            view.slots = self.palette.slots(trace.queries, beside)

    def _build_views(self, trace: Trace) -> None:
        parts = ("tools", "picture", "strip", "list", "scores")
        self.player, self.matrix = RecurrencePlayer(trace, parts=parts), ScoreMatrix(trace, visible=False)
        self.inspector = ProbeInspector(trace, visible=False)
        front = self.player.front
        front.editable = True
        self._listen(front)
        self.pointer = Pointer(front, self._shown, lambda text: self._say(text, wrong=True))
        traitlets.dlink((self.source, "value"), (front, "code"))
        front.observe(self._edited, names="wanted")
        self.views = (self.player, self.matrix, self.inspector)
        link(*self.views)
        self.comparison = html(NOTHING_PINNED)
        title, export = html("The Python that makes this trace:"), rows(self.folder, self.export)
        code = widgets.VBox([title, self.source, export])
        self.tabs = widgets.Tab([self.matrix, self.inspector, self.comparison, code])
        self.tabs.titles = ("scores of all pairs", "probes", "compare", "code and export")
        self.tabs.observe(self._draw_open_tab, names="selected_index")
        self.stage.children = [self.player, self.tabs]

    def _listen(self, front: Front) -> None:
        """Take images that are dropped on a part of the view."""
        front.droppable = True
        front.on_msg(self._asked)

    def _asked(self, _: Any, content: Any, buffers: Any) -> None:
        if content.get("ask") == "image":
            name = str(content.get("name"))
            index = self.film.add(bytes(buffers[0]), name)
            self._show_film(self.film.content())
            self.film.draw(self._show_film)
            self.strip.shot = index

    def _show_film(self, film: Sequence[dict[str, Any]]) -> None:
        with ALONE:
            self.strip.film = list(film)

    def _chosen(self, change: Any) -> None:
        """Open another image of the strip: it has no runs yet."""
        try:
            photo, path = opened(self.film.sources[change["new"]])
        except (CarlabError, IndexError) as error:
            self._say(str(error), wrong=True)
            return
        with ALONE:
            self.photo, self.path = photo, path
            self.runs, self.pinned, self.sent = [], None, None
            with unobserved(self._back, self.history):
                self.history.options = []
            if self.views:
                self.comparison.value = NOTHING_PINNED
                self.player.front.other = {}
                self.pointer.forget()
            self.run(self.controls.state())

    def _edited(self, change: Any) -> None:
        """Run the queries that were added or deleted in the list."""
        queries = tuple(change["new"])
        if self.trace is not None and queries != self.trace.queries:
            self.run(replace(self.controls.state(), queries=queries))

    def _draw_open_tab(self, _: Any = None) -> None:
        """Draw the view behind the open tab, and none behind the others."""
        with ALONE:
            for place, view in enumerate(self.views[1:]):
                view.visible = place == self.tabs.selected_index
            self._show_difference()

    def _show_difference(self) -> None:
        """Show the pinned run beside the present one, and their differences in words."""
        if self.trace is None or self.pinned is None:
            return
        if self.tabs.selected_index == COMPARE:
            self.comparison.value = differences_html(compare(self.pinned, self.trace), PINNED_AND_NOW)
        if self.sent is not self.pinned:
            self.sent = self.pinned
            slots = self.palette.slots(self.pinned.queries)
            self.player.front.change(
                other=self.player.content_of(self.pinned, slots), names=list(PINNED_AND_NOW)
            )

    def _back(self, choice: Any) -> None:
        """Show an earlier run; nothing is computed again."""
        if choice["new"] is None:
            return
        with ALONE:
            state, trace = self.runs[choice["new"]]
            self.runner.cancel()
            self._running = state
            self.controls.show(state)
            self._show(state, trace)
            self._say(outcome(trace))

    def _pin(self, _: Any) -> None:
        """Pin the run that is shown; a second time, let go of it."""
        with ALONE:
            if self.trace is None:
                return
            if self.pinned is self.trace:
                self.pinned = self.sent = None
                self.player.front.other = {}
                self.comparison.value = NOTHING_PINNED
            else:
                self.pinned = self.trace
                self._show_difference()

    def _export(self, _: Any) -> None:
        from carlab.figures import save_figures

        if self.trace is None:
            return
        try:
            folder = make_folder(self.folder.value)
            self.trace.save(folder / "trace.safetensors")
            drawn = save_figures(self.trace, folder)
            (folder / "run.py").write_text(self.source.value, encoding="utf-8")
        except (CarlabError, OSError) as error:
            self._say(str(error), wrong=True)
        else:
            self._say(f"written: trace.safetensors, {len(drawn)} figures and run.py in {folder}")

    def _say(self, text: str, wrong: bool = False) -> None:
        look = "color:#d55e00;font-weight:600" if wrong else "opacity:.8"
        self.message.value = (
            f"<div role='status' class='carlab-said' dir='auto' style='{look}'>{escape(text)}</div>"
        )


def opened(source: Any) -> tuple[Photo, str | None]:
    """Return an image, and its path if it has one; ImageError if it cannot be read."""
    return Photo.of(source), str(source) if isinstance(source, str | Path) else None


def continues(state: LabState, runs: Sequence[tuple[LabState, Trace]]) -> bool:
    """Return whether a state changes the one thing that the last run changed, as a slider does that moves on.

    Parameters
    ----------
    state, runs
        The new one, and those before.

    Examples
    --------
    >>> runs = [(LabState(("cat",)), trace), (LabState(("cat",)).but(theta=0.3), trace)]
    >>> continues(LabState(("cat",)).but(theta=0.4), runs), continues(LabState(("cat",)).but(eta=0.4), runs)
    (True, False)
    """
    if len(runs) < MOST_ALIKE:
        return False
    (before, _), (last, _) = runs[-2:]
    changed = last.differs(before)
    return len(changed) == 1 and state.differs(last) == changed
