"""carlab: CLIP as RNN, every step visible.

>>> import carlab
>>> trace = carlab.segment("cat.jpg", ["cat", "dog"])  # doctest: +SKIP

The public names load lazily: reading and showing a trace imports no torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ClipAsRnn": "carlab.recurrence",
    "CarlabError": "carlab.errors",
    "PROBES": "carlab.probes",
    "PRESETS": "carlab.presets",
    "Step": "carlab.trace",
    "Trace": "carlab.trace",
    "edit": "carlab.probes",
    "load": "carlab.presets",
    "record": "carlab.probes",
    "segment": "carlab.api",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - computed, so that names and homes cannot differ


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("clip-as-rnn-lab")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'carlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
