"""The widget that the views are made of: content and selection as synced traits, drawn by `figures/front`."""

from base64 import b64encode
from typing import Any

import anywidget
import traitlets

from carlab.figures.content import QUALITY, trace_content
from carlab.figures.front import module, style
from carlab.figures.layers import LAYERS, MOST_NAMED, SCREEN_LAYERS, layer_picture
from carlab.files.pictures import encoded
from carlab.trace import Trace
from carlab.trace.show import most_telling
from carlab.widgets.base import NO_QUERY, TraceWidget
from carlab.widgets.files import file_of

MODES = ("side by side", "blink", "slider", "difference")
"""How two traces are shown."""


class Front(anywidget.AnyWidget):
    """Parts of the view of one trace, or of two.

    The module is small and the same for every view; all of a trace is sent before it is shown, so that what
    is selected is drawn in the browser, without the kernel.

    Traits: `content` and `other`, of `trace_content` ({}: none), `names` of the other and of this one;
    `note`, text in place of a trace; `step`, `query`, `layer`, `opacity`, `mode` (one of `MODES`) as in the
    views; `pickable`, whether a click selects a patch, and `pick`, its row and column; `editable`, whether
    queries can be added and deleted, and `wanted`, the queries after that; `code`, Python to be copied.

    `frames` of a video (`times`, `scores`, `kept`, `failed`), and the `frame` that is shown.

    `film`, images to choose from (`name`, `thumb`), and `shot`, the index of the chosen one; `droppable`,
    whether an image can be dropped or pasted. `askable`, whether words and regions can be asked about:
    `words` (`names`, the number of `queries` among them, `maps`, `grid`), `region` (`kind`, `points`) as it
    was drawn, and its `answer` (`scores`, `prompted`).

    Parameters
    ----------
    parts
        Out of "film", "tools", "picture", "frames", "strip", "list", "scores", "matrix".
    """

    _esm = module()
    _css = style()
    parts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    content = traitlets.Dict().tag(sync=True)
    other = traitlets.Dict().tag(sync=True)
    names = traitlets.List(traitlets.Unicode(), ["a", "b"]).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    query = traitlets.Int(-1, min=-1).tag(sync=True)
    layer = traitlets.Enum(SCREEN_LAYERS, default_value=LAYERS[1]).tag(sync=True)
    opacity = traitlets.Float(0.6, min=0, max=1).tag(sync=True)
    mode = traitlets.Enum(MODES, default_value=MODES[0]).tag(sync=True)
    pickable = traitlets.Bool(False).tag(sync=True)
    pick = traitlets.List(traitlets.Int()).tag(sync=True)
    editable = traitlets.Bool(False).tag(sync=True)
    wanted = traitlets.List(traitlets.Unicode()).tag(sync=True)
    code = traitlets.Unicode("").tag(sync=True)
    film = traitlets.List(traitlets.Dict()).tag(sync=True)
    shot = traitlets.Int(0, min=0).tag(sync=True)
    droppable = traitlets.Bool(False).tag(sync=True)
    askable = traitlets.Bool(False).tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    region = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)
    frames = traitlets.Dict().tag(sync=True)
    frame = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(self, *parts: str, **options: Any) -> None:
        super().__init__(parts=list(parts), **options)

    def change(self, **traits: Any) -> None:
        """Set several traits in one message."""
        with self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)


class FrontView(TraceWidget):
    """A view that the browser draws by itself; a subclass says which `parts` of it.

    Traits, beside those of `TraceWidget`: `parts`, as `Front` takes them; `top`, how many queries are named.
    The attribute `slots` has the colour of each query as an index of `carlab.files.pictures.colour`, () for
    its own index; it is set before the trace.

    Examples
    --------
    >>> view = FrontView(trace, parts=("list", "scores"))
    >>> view.front.step = 2  # as the browser sets it
    >>> view.step
    2
    """

    parts = traitlets.Tuple()
    top = traitlets.Int(MOST_NAMED, min=1)
    slots: tuple[int, ...] = ()
    linked: tuple[str, ...] = ("step", "query")
    front_kind: type[Front] = Front

    def build(self) -> None:
        """Create the widget that the browser draws, and link what is selected."""
        self.front = self.front_kind(*self.parts)
        self.children = [self.front]
        for name in self.linked:
            traitlets.link((self, name), (self.front, name))
        self.front.on_msg(self._asked)
        self.renew()
        self.observe(lambda _: self._draw(self.renew), names="top")

    def refresh(self) -> None:
        """Send the prompted images of a query that has none yet; all else the browser has."""
        if self.query >= 0 and not self._named(self.query):
            self.renew()

    def renew(self) -> None:
        """Send the trace."""
        self.front.change(content=self.content(), step=self.step, query=self.query)

    def content(self) -> dict[str, Any]:
        """Return what the browser draws."""
        slots = self.slots if len(self.slots) == len(self.trace.queries) else None
        return self.content_of(self.trace, slots)

    def content_of(self, trace: Trace, slots: tuple[int, ...] | None) -> dict[str, Any]:
        """Return what the browser draws of a trace, its queries in the colours of these slots."""
        pictures = "picture" in self.parts or "strip" in self.parts
        query = self.query if trace is self.trace else NO_QUERY
        return trace_content(trace, query=query, slots=slots, pictures=pictures, top=self.top)

    def _asked(self, _: Any, content: Any, __: Any) -> None:
        """Send the file that the browser asks for."""
        if content.get("ask") == "file":
            name, data = file_of(self.trace, str(content.get("kind")), str(content.get("form")))
            self.front.send({"file": name}, buffers=[data])

    def _named(self, query: int) -> bool:
        return query in self.front.content.get("named", ())

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """Return the widget, and the picture as it is now for where there is no kernel, such as an export."""
        bundle: dict[str, str] = super()._repr_mimebundle_(**options)
        return bundle | picture_bundle(self) if "picture" in self.parts else bundle


def picture_bundle(view: Any) -> dict[str, str]:
    """Return what a view shows as a JPEG, by its type.

    Parameters
    ----------
    view
        With the traits of a `RecurrencePlayer`.
    """
    layer = view.layer if view.layer in LAYERS else LAYERS[1]
    queries = [view.query] if view.query >= 0 else most_telling(view.trace, view.top)
    painted = layer_picture(view.trace, view.step, layer, queries, opacity=view.opacity)
    return {"image/jpeg": b64encode(encoded(painted, "JPEG", quality=QUALITY)).decode()}
