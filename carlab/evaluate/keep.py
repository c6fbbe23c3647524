"""Which traces of a run are kept for the widgets: all, none, or those of the worst images."""

import re
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from carlab.errors import SettingError
from carlab.evaluate.folder import RunFolder
from carlab.files.archive import write_file
from carlab.files.pictures import encoded
from carlab.trace import Trace


@dataclass
class Keeper:
    """Keeps traces of one run; what falls out of the worst is removed again.

    A trace of an image with several passes is kept for each of them.
    """

    folder: RunFolder
    most: int | None
    """How many images; None: all."""
    worst: list[tuple[float, str]] = field(default_factory=list)
    """Score and id of the images kept, worst first."""

    @classmethod
    def of(cls, folder: RunFolder, rule: str, records: list[dict[str, Any]]) -> "Keeper":
        """A keeper by its rule: "all", "none" or "worst:20"; `records` are those the run has already.

        Raises
        ------
        SettingError
            If the rule is another.
        """
        match = re.fullmatch(r"worst:([1-9]\d*)", rule)
        if rule not in ("all", "none") and match is None:
            raise SettingError(f"expected all, none or worst:NUMBER, got {rule!r}; such as worst:20")
        most = int(match[1]) if match else {"all": None, "none": 0}[rule]
        keeper = cls(folder, most)
        for record in records:
            if record.get("score") is not None:
                keeper.rank(record["score"], record["id"])
        return keeper

    def rank(self, score: float, identity: str) -> list[str]:
        """Take an image in; returns the ids that are no longer kept, maybe its own."""
        insort(self.worst, (score, identity))
        most = len(self.worst) if self.most is None else self.most
        gone = [name for _, name in self.worst[most:]]
        del self.worst[most:]
        return gone

    def keep(self, record: Mapping[str, Any], traces: Sequence[Trace], truth: Callable[[], Any]) -> None:
        """Keep or not; the truth goes beside the traces, as a PNG of labels, unless it is None."""
        identity = record["id"]
        if record["score"] is None or self.most == 0:
            return
        gone = self.rank(record["score"], identity)
        if identity not in gone:
            for number, trace in enumerate(traces):
                trace.save(self.folder.trace(identity, number))
            labels = truth()
            if labels is not None:
                write_file(self.folder.truth(identity), encoded(labels))
        for name in gone:
            for path in self.folder.kept(name):
                path.unlink(missing_ok=True)
