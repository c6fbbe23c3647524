"""What a user has chosen in the Lab, and the Python that does the same."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from carlab.changes import Changes


@dataclass(frozen=True)
class LabState:
    """Everything that decides a run but the photo; hashable, so that runs can be told apart."""

    queries: tuple[str, ...]
    preset: str = "offline"
    changes: Changes = field(default_factory=Changes)

    def but(self, **changes: Any) -> "LabState":
        """The state with some settings changed."""
        return replace(self, changes=replace(self.changes, **changes))

    def code(self, photo: str | None, own_model: bool = False) -> str:
        """Python that makes the same trace.

        Parameters
        ----------
        photo
            A path; None if the photo came as pixels, which stay a variable then.
        own_model
            Whether the model is the user's, a variable too.
        """
        changed = ", ".join(
            f"{setting.name}={getattr(self.changes, setting.name)!r}"
            for setting in fields(Changes)
            if getattr(self.changes, setting.name) != setting.default
        )
        lines = ["import carlab", ""]
        model = "model" if own_model else f"carlab.load({self.preset!r})"
        if changed:
            lines[1:1] = ["from carlab.changes import Changes"]
            model = f"Changes({changed}).apply({model})"
        source = "photo" if photo is None else repr(photo)
        return "\n".join(
            [*lines, f"model = {model}", f"trace = model({source}, {list(self.queries)!r})", "trace"]
        )

    def __str__(self) -> str:
        """A short name for the history: what differs from the preset."""
        changed = [
            f"{setting.name}={getattr(self.changes, setting.name)}"
            for setting in fields(Changes)
            if getattr(self.changes, setting.name) != setting.default
        ]
        return " ".join([self.preset, f"{len(self.queries)} queries", *changed])
