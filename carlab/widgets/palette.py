"""The colour and number of each query, which stay with it while others are added and deleted."""

from collections.abc import Sequence


class Palette:
    """Give every query a slot; its colour is that of the slot, its number one more.

    Examples
    --------
    >>> palette = Palette()
    >>> palette.slots(["cat", "dog", "sofa"])
    (0, 1, 2)
    >>> palette.slots(["dog", "sofa", "lamp"])
    (1, 2, 0)
    """

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def slots(self, queries: Sequence[str], beside: Sequence[str] = ()) -> tuple[int, ...]:
        """Return the slot of each query; those new get the lowest that none of these or `beside` has.

        Parameters
        ----------
        queries, beside
            Names, and others that are shown at the same time, such as those of a pinned run.
        """
        taken: set[int] = set()
        fresh = []
        for name in dict.fromkeys((*beside, *queries)):
            slot = self._held.get(name)
            if slot is None or slot in taken:  # new, or it was given away meanwhile
                fresh.append(name)
            else:
                taken.add(slot)
        for name in fresh:
            self._held[name] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
            taken.add(self._held[name])
        return tuple(self._held[name] for name in queries)
