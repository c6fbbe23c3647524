"""The frames of a video: a slider, the scores over time, and the recurrence of the frame that is shown."""

import os
from typing import Any

import traitlets

from carlab.errors import TraceError
from carlab.figures.content import finite
from carlab.figures.front import module
from carlab.figures.layers import SCREEN_LAYERS
from carlab.trace.show import shorten
from carlab.video.archive import VideoTraces
from carlab.widgets.front import Front, FrontView


class VideoFront(Front):
    """A `Front` with the curves of the frames."""

    _esm = module("frames")


class VideoPlayer(FrontView):
    """Show the traces of a video frame by frame; each is read when it is shown.

    A slider and a click on a score curve choose the frame; the step, the query and the layer stay selected.
    Traits, beside those of `RecurrencePlayer`: `frame`, the place among the frames, from 0; one that failed
    says so, and the last one stays. Other views follow the frame by
    `traitlets.dlink((player, "trace"), (plot, "trace"))`.

    Raises TraceError if the file cannot be read, or no frame has a trace.

    Parameters
    ----------
    traces
        `VideoTraces`, or the path of the file.
    options
        Initial values of the traits.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from carlab.video.archive import member, pack
    >>> folder = TemporaryDirectory()
    >>> path = Path(folder.name)
    >>> records = [{"index": k, "time": k / 2, "scores": [0.8, 0.1, 0.1], "kept": [0]} for k in range(2)]
    >>> for k in range(2):
    ...     _ = trace.save(path / member(k))
    >>> about = {"queries": list(trace.queries), "settings": trace.settings}
    >>> player = VideoPlayer(pack(path / "traces.zip", about, records, path))
    >>> player.front.frame = 1  # as the browser sets it
    >>> player.frame, player.front.frames["times"]
    (1, [0.0, 0.5])
    >>> folder.cleanup()
    """

    parts = traitlets.Tuple(default_value=("tools", "picture", "frames", "strip", "list"))
    layer = traitlets.Enum(SCREEN_LAYERS, default_value="final")
    opacity = traitlets.Float(0.6, min=0, max=1)
    frame = traitlets.Int(0, min=0)
    linked = (*FrontView.linked, "layer", "opacity", "frame")
    front_kind = VideoFront

    def __init__(self, traces: VideoTraces | str | os.PathLike[str], **options: Any) -> None:
        self.traces = traces if isinstance(traces, VideoTraces) else VideoTraces.open(traces)
        whole = [place for place, record in enumerate(self.traces.frames) if "error" not in record]
        if not whole:
            raise TraceError(
                "expected a video with a trace, got none; run it again, and see why frames failed"
            )
        first = options.pop("frame", whole[0])
        super().__init__(self.traces[min(first, len(self.traces) - 1)], frame=first, **options)
        self.observe(self._jumped, names="frame")

    def build(self) -> None:
        """Create the view, and send the scores of all frames; traces follow one by one."""
        super().build()
        self.front.frames = frames_content(self.traces)

    @traitlets.validate("frame")
    def _among_the_frames(self, proposal: Any) -> int:
        return min(int(proposal["value"]), len(self.traces) - 1)

    def _jumped(self, change: Any) -> None:
        if "error" in self.traces.frames[change["new"]]:
            return
        query = self.query
        self.trace = self.traces[change["new"]]
        self.query = query


def frames_content(traces: VideoTraces) -> dict[str, Any]:
    """Return what the browser draws the curves from.

    Parameters
    ----------
    traces
        Only their records are read.
    """
    return {
        "times": [round(float(time), 4) for time in traces.times],
        "scores": [[finite(score) for score in row] for row in traces.scores.tolist()],
        "kept": [sorted(kept) for kept in traces.kept],
        "failed": {
            str(place): shorten(str(record["error"]), 120)
            for place, record in enumerate(traces.frames)
            if "error" in record
        },
    }
