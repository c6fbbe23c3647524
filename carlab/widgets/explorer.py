"""An evaluation run: its images by score, and one click to the trace of each."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as widgets
import traitlets

from carlab.errors import CarlabError, RunError
from carlab.evaluate.browse import ORDERS, ImageRow, chosen_rows, image_rows
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.summary import Summary, difference
from carlab.metrics.intervals import percent, shown
from carlab.trace import Trace
from carlab.trace.show import printable, shorten
from carlab.widgets.base import ALONE, html, rows, unobserved
from carlab.widgets.compare import Compare
from carlab.widgets.player import RecurrencePlayer

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn

MOST_ROWS = 300
"""Images listed at once; a filter finds the others."""
MOST_NAMES = 6
EVERY = "every class"


class ImageList(anywidget.AnyWidget):
    """The table of the images; `picked` is the id of the one that was clicked, "" for none."""

    _esm = files(__name__.rpartition(".")[0]).joinpath("explorer.js").read_text(encoding="utf-8")
    _css = files(__name__.rpartition(".")[0]).joinpath("explorer.css").read_text(encoding="utf-8")
    columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    picked = traitlets.Unicode("").tag(sync=True)


class Explorer(widgets.VBox):
    """Show a run of `carlab eval`: its images sorted and filtered, and the trace of the one that is clicked.

    A trace that the run has kept is read. Any other is recomputed where `root` says where the data are, with
    the preset and every setting of the run's manifest.

    Traits: `image`, the id of the image that is open, "" for none; `order`, one of
    `carlab.evaluate.browse.ORDERS`; `label`, the class that images must have, "" for any; `dropped`, whether
    only images are listed in which a true class was dropped; `number`, which of an image's runs is shown,
    from 0 (things, then stuff; or one for each object); `trace`, that run, None if there is none.

    Raises RunError if a folder holds no run, or the two have other data. What is wrong with one image is said
    in its place.

    Parameters
    ----------
    run, other
        The folder of a run, and that of another to compare with it.
    root
        The folder that holds the data set, to recompute traces that were not kept.
    model
        What loads the model to recompute with, such as `partial(carlab.load, "reference/voc",
        proposer="/models/b16")`; by default the run's preset.

    Examples
    --------
    >>> Explorer("runs/voc", "runs/voc-strict", root="/data")  # doctest: +SKIP
    """

    image = traitlets.Unicode("")
    order = traitlets.Enum(ORDERS, default_value=ORDERS[0])
    label = traitlets.Unicode("")
    dropped = traitlets.Bool(False)
    number = traitlets.Int(0, min=0)
    trace = traitlets.Instance(Trace, allow_none=True)

    def __init__(
        self,
        run: Any,
        other: Any = None,
        *,
        root: str | os.PathLike[str] | None = None,
        model: "Callable[[], ClipAsRnn] | None" = None,
        **options: Any,
    ) -> None:
        self.folders = [_run_folder(one) for one in (run, other) if one is not None]
        self.summaries = [Summary.of(folder, folder.ids) for folder in self.folders]
        self.found = image_rows(*self.summaries)
        self._root, self._model = root, model
        self._traces: dict[tuple[str, int], list[Trace]] = {}
        self._check_same()
        super().__init__(**options)
        self._build()
        self._list()
        self.observe(lambda _: self._list(), names=["order", "label", "dropped"])
        self.observe(self._clicked, names="image")
        self.observe(self._shown, names="number")

    def traces(self, identity: str, run: int = 0) -> list[Trace]:
        """Return the traces of an image in a run: as kept, or recomputed; RunError if neither can be.

        Parameters
        ----------
        identity, run
            Id of the image; 0 for the run, 1 for the other.
        """
        key = (identity, run)
        if key not in self._traces:
            if len(self._traces) >= 8:  # some megabytes each
                del self._traces[next(iter(self._traces))]
            self._traces[key] = self._read(identity, self.folders[run])
        return self._traces[key]

    def _read(self, identity: str, folder: RunFolder) -> list[Trace]:
        kept = folder.kept_traces(identity)
        if kept:
            return [Trace.load(path) for path in kept]
        if self._root is None:
            raise RunError(
                f"expected a kept trace of {identity!r}, got none in {str(folder.path)!r}; give "
                'Explorer(..., root="DATA") to recompute it, or run with --keep-traces all'
            )
        from carlab.evaluate.again import recompute, run_dataset
        from carlab.presets import load

        preset = folder.manifest["provenance"]["preset"]
        return recompute(
            folder, identity, run_dataset(folder, Path(self._root)), self._model or partial(load, preset)
        )

    def _check_same(self) -> None:
        """Raise RunError if two runs have other data, or other classes."""
        if len(self.summaries) == 2:
            mine, theirs = (summary.manifest["dataset"] for summary in self.summaries)
            for name in ("name", "split", "kind", "classes"):
                if mine[name] != theirs[name]:
                    raise RunError(
                        f"expected two runs over one data set, got {name} {mine[name]!r} and "
                        f"{theirs[name]!r}; compare runs over the same data only"
                    )

    def _build(self) -> None:
        """Create the head, the controls, the list and the place of the trace."""
        names = sorted({name for row in self.found for name in (*row.true, *row.found)})
        semantic = self.folders[0].manifest["dataset"]["kind"] == "semantic"
        orders = [order for order in ORDERS if len(self.folders) == 2 or not order.startswith("most")]
        self._order = widgets.Dropdown(options=orders, description="order")
        self._label = widgets.Dropdown(
            options=[(EVERY, ""), *((printable(one), one) for one in names)], description="class"
        )
        self._dropped = widgets.Checkbox(description="a true class was dropped", indent=False)
        for trait, control in (("order", self._order), ("label", self._label), ("dropped", self._dropped)):
            traitlets.link((self, trait), (control, "value"))
        for control in (self._label, self._dropped):
            control.layout.display = None if semantic else "none"
        self.images = ImageList(columns=self._columns(), layout={"flex": "1 1 420px", "min_width": "0"})
        traitlets.link((self, "image"), (self.images, "picked"))
        self.note, self._which = html(), widgets.Dropdown(description="run", layout={"display": "none"})
        self._which.observe(self._switched, names="value")
        self.view = widgets.VBox(layout={"width": "100%"})
        place = widgets.VBox(
            [self.note, self._which, self.view], layout={"flex": "2 1 520px", "min_width": "0"}
        )
        controls = rows(self._order, self._label, self._dropped)
        self.children = [html(self._head()), controls, rows(self.images, place, align_items="flex-start")]

    def _columns(self) -> list[str]:
        names = [shorten(summary.name, 18) for summary in self.summaries]
        return ["image", *(names if len(names) == 2 else ["score"]), "true", "found", "wrongly dropped"]

    def _head(self) -> str:
        """Return the scores of the runs as HTML."""
        lines = []
        for summary in self.summaries:
            metric, _ = summary.headline
            failed = f", {len(summary.failed)} failed" if summary.failed else ""
            score = f"{escape(metric)} {shown(summary.interval(metric))}"
            images = f"{len(summary.records)} images{failed}"
            lines.append(f"<b>{escape(shorten(summary.name))}</b>: {score}, {images}")
        if len(self.summaries) == 2:
            metric = self.summaries[0].headline[0]
            try:
                change = difference(self.summaries[0], self.summaries[1], metric)
                lines.append(f"difference {shown(change, sign='+')}, paired")
            except RunError as error:
                lines.append(f"no difference: {escape(str(error))}")
        return "<br>".join(lines)

    def _list(self) -> None:
        """List the images that are asked for."""
        chosen = chosen_rows(self.found, order=self.order, name=self.label, dropped=self.dropped)
        with ALONE, self.images.hold_sync():
            self.images.rows = [self._row(row) for row in chosen[:MOST_ROWS]]
            more = len(chosen) - MOST_ROWS
            self.images.note = f"{len(chosen)} of {len(self.found)} images" + (
                f"; the first {MOST_ROWS} are listed" if more > 0 else ""
            )

    def _row(self, row: ImageRow) -> dict[str, Any]:
        """Return a row as JSON; with a class, its IoU stands in place of the score."""
        scores = [row.ious.get(self.label, float("nan")) if self.label else row.score]
        scores += [row.other] if len(self.folders) == 2 else []
        texts = {name: _names(getattr(row, name)) for name in ("true", "found", "dropped")}
        return {"id": row.id, "scores": [None if isnan(one) else one for one in scores], **texts}

    def _clicked(self, _: Any) -> None:
        """Show the image that was clicked."""
        with ALONE:
            with unobserved(self._shown, self, names="number"):
                self.number = 0
            self._shown(None)

    def _switched(self, change: Mapping[str, Any]) -> None:
        if change["new"] is not None:
            self.number = change["new"]

    def _shown(self, _: Any) -> None:
        with ALONE:
            self.view.children, self.trace = (), None
            self._which.layout.display = "none"
            if not self.image:
                self.note.value = ""
                return
            self.note.value = f"<p>{escape(printable(self.image))} …</p>"  # recomputing takes seconds
            try:
                self._open()
            except CarlabError as error:
                self.note.value = f"<p role='alert'>{escape(printable(str(error)))}</p>"

    def _open(self) -> None:
        """Show one run over the image, or both beside each other."""
        pairs, missing = [], []
        for run in range(len(self.folders)):
            try:
                pairs.append(self.traces(self.image, run))
            except RunError as error:
                if run == 0:
                    raise
                missing.append(str(error))
        number = min(self.number, len(pairs[0]) - 1)
        if number < 0:
            raise RunError(
                f"expected a run over {self.image!r}, got none: it had no queries; open another image"
            )
        self._offer(pairs[0], number)
        self.trace = pairs[0][number]
        names = self._columns()[1:3]
        both = len(pairs) == 2 and number < len(pairs[1])
        self.view.children = [
            Compare(pairs[0][number], pairs[1][number], (names[0], names[1]))
            if both
            else RecurrencePlayer(self.trace)
        ]
        row = next((row for row in self.found if row.id == self.image), None)
        self.note.value = self._about(row) + "".join(f"<p>{escape(printable(text))}</p>" for text in missing)

    def _offer(self, traces: Sequence[Trace], number: int) -> None:
        """Offer the runs over the image, where there are several."""
        with unobserved(self._switched, self._which):
            self._which.options = [
                (f"{k + 1}: {shorten(', '.join(t.queries), 40)}", k) for k, t in enumerate(traces)
            ]
            self._which.value = number
        self._which.layout.display = None if len(traces) > 1 else "none"

    def _about(self, row: ImageRow | None) -> str:
        """Return what is known of the image as HTML."""
        if row is None:
            return f"<p>{escape(printable(self.image))}</p>"
        parts = [f"score {percent(row.score, none='–')}"]
        if not isnan(row.other):
            parts.append(f"other {percent(row.other, none='–')}")
        parts += [f"{name} {percent(iou)}" for name, iou in list(row.ious.items())[:MOST_NAMES]]
        if row.dropped:
            parts.append(f"wrongly dropped: {_names(row.dropped)}")
        return f"<p><b>{escape(printable(row.id))}</b> · {escape(printable(' · '.join(parts)))}</p>"


def _run_folder(run: Any) -> RunFolder:
    return run if isinstance(run, RunFolder) else RunFolder.read(run)


def _names(names: Sequence[str]) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(shorten(name, 30) for name in names[:MOST_NAMES]) + more
