"""The shortest way in: a photo and a few words, a Trace out."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace


def segment(
    photo: Any,
    queries: Sequence[str],
    *,
    preset: str = "offline",
    background: Sequence[str] | None = None,
    record: Sequence[str] = (),
    **options: Any,
) -> Trace:
    """Segment one photo with words.

    Parameters
    ----------
    photo
        A path, bytes, a Pillow image, or a uint8 array (h, w, 3), RGB.
    queries
        What to look for; words that are not there are dropped.
    preset, options
        See `carlab.load`. The model last used stays loaded.
    background
        Replaces the preset's background words; () for none.
    record
        Patterns of probes to keep in the trace, e.g. `["cam.*"]`.

    Raises
    ------
    CarlabError
        What was expected, what came, and what to do.
    """
    return _loaded(preset, **options)(photo, queries, background=background, record=record)


@lru_cache(maxsize=1)
def _loaded(preset: str, **options: Any) -> ClipAsRnn:
    return load(preset, **options)
