"""Hooks: named places in the method whose values can be recorded or edited.

A stage passes a value through `probe(name, value)`, which gives it back
unchanged unless someone is looking. `record` and `edit` are the only ways to
look, both are context managers, and nothing stays behind when they end.

>>> import numpy as np
>>> with record("filter.*") as seen, edit("filter.scores", lambda s: s * 0):
...     probe("filter.scores", np.array([0.2, 0.8]))
array([0., 0.])
>>> seen["filter.scores"]
array([0., 0.])
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from carlab.errors import ProbeError


class ProbeInfo(NamedTuple):
    """One row of the published table."""

    axes: str
    when: str  # "image": once, while preparing; "step": in every step; "end": in the refiner
    meaning: str


PROBES: dict[str, ProbeInfo] = {
    "cam.activations": ProbeInfo("n c", "image", "A: what the last block reads, patch tokens"),
    "cam.logits": ProbeInfo("Q", "image", "l_j of every query, logit scale included"),
    "cam.background": ProbeInfo("B", "image", "l_b of every background query"),
    "cam.gradients": ProbeInfo("Q c", "image", "g_j: mean over tokens of d l_j / d A"),
    "cam.raw": ProbeInfo("q i j", "step", "Grad-CAM after relu, before min-max"),
    "cam.normalised": ProbeInfo("q i j", "step", "Grad-CAM in [0, 1]"),
    "affinity.attention": ProbeInfo("n n", "image", "patch attention, mean of heads and blocks"),
    "affinity.similarity": ProbeInfo("n n", "image", "patch similarity of a backbone without attention"),
    "affinity.transition": ProbeInfo("n n", "image", "D: the doubly normalised, squared affinity"),
    "affinity.boxes": ProbeInfo("q i j", "step", "box mask M of each query, 0 or 1"),
    "affinity.refined": ProbeInfo("q i j", "step", "(D * M) @ cam, before min-max"),
    "mask.refined": ProbeInfo("q i j", "step", "soft mask in [0, 1] after the affinity"),
    "classify.texts": ProbeInfo("p Q d", "image", "text embeddings, template by query"),
    "classify.pictures": ProbeInfo("q s s 3", "step", "prompted images as the classifier sees them"),
    "classify.embeddings": ProbeInfo("q d", "step", "image embeddings of the prompted images"),
    "classify.logits": ProbeInfo("p q q", "step", "template, prompted image, query"),
    "classify.probs": ProbeInfo("q q", "step", "P_t: row = prompted image, rows sum to 1"),
    "filter.scores": ProbeInfo("q", "step", "diagonal of P_t, what the threshold sees"),
    "refine.masks": ProbeInfo("k i j", "end", "soft masks of the survivors, as the refiner gets them"),
    "refine.regions": ProbeInfo(
        "m h w", "end", "regions of the photo that final masks are matched to, 0 or 1"
    ),
}
"""Every probe: its axes, when it fires, what it is.

Axis letters: Q all queries, q those active in the step, k survivors, B background queries,
n patch tokens (i rows by j columns), c token width, d embedding width,
p templates, s classifier input side, h w image rows and columns, m regions.
"""


@dataclass
class _Recorder:
    patterns: tuple[str, ...]
    seen: dict[str, np.ndarray] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


_recorders: ContextVar[tuple[_Recorder, ...]] = ContextVar("carlab_recorders", default=())
_edits: ContextVar[tuple[tuple[str, Callable[[Any], Any]], ...]] = ContextVar("carlab_edits", default=())


@contextmanager
def record(*patterns: str) -> Iterator[dict[str, np.ndarray]]:
    """Record every probe whose name matches a pattern (`"cam.*"`).

    Yields a dict name -> latest value as a NumPy copy. A `Trace` made inside
    the `with` also carries the recorded values, by step.

    Raises
    ------
    ProbeError
        If a pattern matches no probe.
    """
    recorder = _Recorder(check_patterns(patterns))
    token = _recorders.set((*_recorders.get(), recorder))
    try:
        yield recorder.seen
    finally:
        _recorders.reset(token)


@contextmanager
def edit(name: str, fn: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the value of one probe by `fn(value)` while the `with` lasts.

    `fn` gets the stage's own array (NumPy, or a torch tensor for the probes
    of the model's inside) and returns one of the same shape; edits of one probe apply in the order in
    which they were opened.

    Raises
    ------
    ProbeError
        If there is no such probe; later, if `fn` changes shape or type.
    """
    check_patterns((name,), exact=True)
    token = _edits.set((*_edits.get(), (name, fn)))
    try:
        yield
    finally:
        _edits.reset(token)


def probe(name: str, value: Any) -> Any:
    """Pass `value` through the hooks open for `name`; the seam stages call."""
    for wanted, fn in _edits.get():
        if wanted == name:
            value = _edited(name, value, fn)
    for recorder in _recorders.get():
        if recorder.wants(name):
            recorder.seen[name] = as_numpy(value)
    return value


def editing(*names: str) -> bool:
    """Whether an edit is open for any of `names`: then nothing remembered may be used."""
    return any(wanted in names for wanted, _ in _edits.get())


def watched(name: str) -> bool:
    """Whether someone records or edits this probe: then it must fire, whatever is remembered."""
    return editing(name) or any(recorder.wants(name) for recorder in _recorders.get())


def recorded_patterns() -> tuple[str, ...]:
    """All patterns that open recorders want; a run records them into its Trace."""
    return tuple(pattern for recorder in _recorders.get() for pattern in recorder.patterns)


def check_patterns(patterns: tuple[str, ...], *, exact: bool = False) -> tuple[str, ...]:
    """Return `patterns` if each names a probe, otherwise raise ProbeError."""
    for pattern in patterns:
        known = pattern in PROBES if exact else any(fnmatchcase(n, pattern) for n in PROBES)
        if not known:
            raise ProbeError(
                f"expected the name{'' if exact else ' or pattern'} of a probe, got {pattern!r}; "
                f"the probes are {', '.join(PROBES)}"
            )
    return patterns


def as_numpy(value: Any) -> np.ndarray:
    """A NumPy copy of an array or tensor; bfloat16 becomes float32.

    Torch is not imported here: a tensor is known by its methods.
    """
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        value = (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).numpy()
    return np.array(value)


def _edited(name: str, value: Any, fn: Callable[[Any], Any]) -> Any:
    new = fn(value)
    if type(new) is not type(value) or new.shape != value.shape or new.dtype != value.dtype:
        came = f"{type(new).__name__} {tuple(getattr(new, 'shape', ()))} {getattr(new, 'dtype', '')}"
        raise ProbeError(
            f"the edit of {name!r} must return a {type(value).__name__} {tuple(value.shape)} "
            f"{value.dtype}, got {came.strip()}; return an array like the one it was given"
        )
    return new
