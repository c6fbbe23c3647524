"""The queries and settings chosen in the Lab, and the Python that makes the same run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from carlab import settings


@dataclass(frozen=True)
class LabState:
    """Everything that decides a run but the image; hashable, so that runs can be compared.

    Parameters
    ----------
    queries, preset
        Names to look for, and the name of the model that is changed.
    changes
        Settings that differ from the preset's, by `Setting.key`; see docs/settings.md.

    Examples
    --------
    >>> state = LabState(("cat", "dog")).but(theta=0.5)
    >>> print(state.code("cat.jpg"))
    import carlab
    <BLANKLINE>
    model = carlab.change(carlab.load('offline'), theta=0.5)
    trace = model('cat.jpg', ['cat', 'dog'])
    trace
    """

    queries: tuple[str, ...]
    preset: str = "offline"
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The changes by key, as `carlab.change` takes them."""
        return dict(self.changes)

    def but(self, **changes: Any) -> "LabState":
        """Return the state with some settings changed; None leaves that one to the preset."""
        merged = {**self.settings, **changes}.items()
        return replace(self, changes=tuple((key, value) for key, value in merged if value is not None))

    def differs(self, other: "LabState") -> set[str]:
        """Return the names of what differs between two states."""
        keys = {key for key, _ in (*self.changes, *other.changes)}
        changed = {key for key in keys if self.settings.get(key) != other.settings.get(key)}
        parts = {name for name in ("queries", "preset") if getattr(self, name) != getattr(other, name)}
        return changed | parts

    def code(self, path: str | None, own_model: bool = False) -> str:
        """Return Python that makes the same trace; an image without a path and an own model are variables."""
        model = "model" if own_model else f"carlab.load({self.preset!r})"
        if self.changes:
            model = f"carlab.change({model}, {settings.code(self.settings)})"
        image = "image" if path is None else repr(path)
        return f"import carlab\n\nmodel = {model}\ntrace = model({image}, {list(self.queries)!r})\ntrace"

    def __str__(self) -> str:
        changed = [f"{key}={value}" for key, value in self.changes]
        return " ".join([self.preset, f"{len(self.queries)} queries", *changed])
