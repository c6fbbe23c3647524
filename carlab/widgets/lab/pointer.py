"""Questions about the image that is shown: what words say of a patch, how a drawn region scores."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from carlab.figures.content import finite, picture
from carlab.photo import Photo
from carlab.trace import Trace
from carlab.trace.show import shorten
from carlab.widgets.base import ALONE
from carlab.widgets.front import Front
from carlab.widgets.lab.controls import COSTS
from carlab.widgets.lab.runner import Runner

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn

UNSCORED = {"theta", "keep_best", "max_steps"}
"""Settings on which the scores of a region do not depend."""


class Shown(NamedTuple):
    """What the questions are about."""

    model: "ClipAsRnn"
    photo: Photo
    trace: Trace


class Pointer:
    """Answer the questions of a view in a thread of its own, the latest first.

    Parameters
    ----------
    front
        The view: what is asked comes from it, and answers go to it.
    shown
        Returns what is shown.
    say
        Called with the text of an error.
    """

    def __init__(self, front: Front, shown: Callable[[], Shown], say: Callable[[str], None]) -> None:
        self.front, self.shown, self.say = front, shown, say
        self.runner = Runner()
        front.askable = True
        front.on_msg(self._asked)
        front.observe(self._drawn, names="region")

    def renew(self, changed: set[str]) -> None:
        """Forget what the words said if that may have changed, and score the region anew."""
        if changed - set(COSTS["arithmetic"]):
            self.front.words = {}
        if changed - UNSCORED and self.front.region.get("points"):
            self._submit(self._region)

    def forget(self) -> None:
        """Forget everything: another image is shown."""
        self.front.change(words={}, region={}, answer={})

    def _asked(self, _: Any, content: Any, __: Any) -> None:
        if content.get("ask") == "words":
            self._submit(self._words)

    def _drawn(self, change: Any) -> None:
        if change["new"].get("points"):
            self._submit(self._region)

    def _submit(self, answer: Callable[[Shown], dict[str, Any]]) -> None:
        def task(stopped: Callable[[], bool]) -> None:
            try:
                answered = answer(self.shown())
            except Exception as error:  # the thread must stay alive, and the user must see the error
                self.say(str(error))
                return
            with ALONE:
                if not stopped():
                    self.front.change(**answered)

        self.runner.submit(task)

    def _words(self, shown: Shown) -> dict[str, Any]:
        from carlab.studies.pointing import word_maps

        said = word_maps(shown.model, shown.photo, shown.trace.queries)
        levels = (said.maps * 255).round().astype(np.uint8)
        names = [shorten(name) for name in (*said.queries, *said.background)]
        grid = list(levels.shape[1:])
        return {
            "words": {"names": names, "queries": len(said.queries), "grid": grid, "maps": levels.tobytes()}
        }

    def _region(self, shown: Shown) -> dict[str, Any]:
        from carlab.studies.pointing import drawn_region, region_scores

        drawn = self.front.region
        region = drawn_region(drawn["kind"], drawn["points"], *shown.photo.image.shape[:2])
        found = region_scores(shown.model, shown.photo, shown.trace.queries, region)
        scores = [finite(score) for score in found.scores.tolist()]
        return {"answer": {"scores": scores, "prompted": picture(found.prompted)}}
