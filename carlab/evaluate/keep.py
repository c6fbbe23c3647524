"""Keep the traces of a run for the widgets: all, none, or those of the worst images."""

import re
import sys
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
    """Keeps the traces of the `most` images with the lowest score, and deletes others as they are replaced.

    `worst` holds score and id of the images kept, worst first.
    """

    folder: RunFolder
    most: int
    worst: list[tuple[float, str]] = field(default_factory=list)

    @classmethod
    def of(cls, folder: RunFolder, rule: str, records: Sequence[Mapping[str, Any]]) -> "Keeper":
        """Return a keeper by its rule, "all", "none" or "worst:20"; any other raises SettingError."""
        match = re.fullmatch(r"all|none|worst:([1-9]\d*)", rule)
        if match is None:
            raise SettingError(f"expected all, none or worst:NUMBER, got {rule!r}; such as worst:20")
        keeper = cls(folder, int(match[1] or {"all": sys.maxsize, "none": 0}[rule]))
        for record in records:
            keeper.rank(record)
        return keeper

    def rank(self, record: Mapping[str, Any]) -> list[str]:
        """Insert an image by its score; return the ids that are no longer kept, maybe its own."""
        if record.get("score") is None:
            return [record["id"]]
        insort(self.worst, (record["score"], record["id"]))
        dropped = [name for _, name in self.worst[self.most :]]
        del self.worst[self.most :]
        return dropped

    def keep(self, record: Mapping[str, Any], traces: Sequence[Trace], truth: Callable[[], Any]) -> None:
        """Save the traces of an image, and its truth, unless None, as a PNG, if the rule selects them."""
        identity, dropped = record["id"], self.rank(record)
        if identity not in dropped:
            for number, trace in enumerate(traces):
                trace.save(self.folder.trace(identity, number))
            labels = truth()
            if labels is not None:
                write_file(self.folder.truth(identity), encoded(labels))
        for name in dropped:
            for path in self.folder.kept(name):
                path.unlink(missing_ok=True)
