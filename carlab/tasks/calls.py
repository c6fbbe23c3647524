"""The shortest ways in: one call from images and queries to traces."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from inspect import signature
from typing import Any

from carlab.batch import traces_of
from carlab.errors import CarlabError, ComputeError, ImageError, SettingError, check_text
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.settings import SETTINGS, change
from carlab.tasks.referring import Expressions, refer_many
from carlab.trace.trace import Trace

LOADING = tuple(name for name in signature(load).parameters if name not in {"preset", "regions", "proposer"})
"""Options of `load`; every other keyword is a row of the settings table."""


def segment(
    image: Any,
    queries: Sequence[str],
    *,
    preset: str = "offline",
    background: Sequence[str] | str | None = None,
    record: Sequence[str] = (),
    **settings: Any,
) -> Trace:
    """Segment one image: the shortest way in.

    Raises CarlabError if one of them cannot be used, or the model cannot be loaded.

    Parameters
    ----------
    image, queries, record
        As `ClipAsRnn.__call__` takes them.
    preset
        One of `PRESETS`. The model last used stays loaded.
    background
        A list of background queries; or a text, as the setting takes it: a vocabulary by name, or queries
        with commas between them.
    settings
        Any row of docs/settings.md, such as `theta=0.5, prompter="blur"` (`box` for lambda), and the options
        of `load`: `proposer_backbone`, `classifier`, `device`, `dtype`.
    """
    model, words = _prepared(preset, background, settings)
    return model(image, queries, background=words, record=record)


def segment_many(
    images: Iterable[Any],
    queries: Sequence[str],
    *,
    preset: str = "offline",
    background: Sequence[str] | str | None = None,
    workers: int = 1,
    **settings: Any,
) -> Iterator[Trace | ImageError | ComputeError]:
    """Segment many images by the same queries; yield a trace for each, in order, as they are done.

    Prompted images of several images share batches, and memory holds a few images at a time. An image that
    cannot be read yields its ImageError, one at which a library raised (for lack of memory, say) its
    ComputeError; the others are run.

    Raises CarlabError if the queries or settings cannot be used, or the model cannot be loaded.

    Parameters
    ----------
    images
        Each as `segment` takes it; a generator is fine. `carlab.files.images.list_images` lists a folder.
    queries, preset, background, settings
        As `segment` takes them.
    workers
        Processes for DenseCRF beside the model; 0 refines in this one.
    """
    model, words = _prepared(preset, background, settings)
    return traces_of(model, images, queries, background=words, workers=workers)


def refer(
    image: Any,
    expressions: Expressions,
    *,
    merge: bool = True,
    preset: str = "offline",
    background: Sequence[str] | str | None = None,
    **settings: Any,
) -> Trace:
    """Find the objects that expressions refer to in one image, each object by a run of its own.

    Each expression is proposed against the background alone; the trunk runs once for all of them. A single
    expression has nothing to compete with: its score is 1, and it is never dropped (but by absolute scores,
    `score="sigmoid"`).

    Raises CarlabError if one of them cannot be used, or the model cannot be loaded.

    Parameters
    ----------
    image, preset, background, settings
        As `segment` takes them; the setting `refer` is on.
    expressions
        A text for each object, `["the man in the red shirt", "the dog"]`: one mask an expression. A list of
        texts is one object, `[["the man in the red shirt", "man on the left"]]`: its expressions compete, and
        their masks are merged as in the released code (docs/metrics.md).
    merge
        False: each expression of an object keeps its own mask.
    """
    model, words = _prepared(preset, background, {"refer": True, **settings})
    (found,) = refer_many(model, [image], expressions, merge=merge, background=words, workers=0)
    if isinstance(found, CarlabError):
        raise found
    return found


def _prepared(
    preset: str, background: Sequence[str] | str | None, settings: dict[str, Any]
) -> tuple[ClipAsRnn, Sequence[str] | None]:
    """Return the model with its settings changed, and the background queries of the call, if it lists any."""
    check_text("a preset", preset)
    for name in LOADING:
        check_text(name, settings.get(name), optional=True)
    rows = {row.key for row in SETTINGS.values()}
    unknown = [name for name in settings if name not in rows and name not in LOADING]
    if unknown:
        raise SettingError(
            f"expected settings out of {', '.join((*LOADING, *sorted(rows)))}, got {unknown[0]!r}; "
            "docs/settings.md has them all"
        )
    model = _loaded(preset, **{name: settings.pop(name) for name in LOADING if name in settings})
    if isinstance(background, str):
        return change(model, background=background, **settings), None
    return change(model, **settings), background


@lru_cache(maxsize=1)
def _loaded(preset: str, **options: Any) -> ClipAsRnn:
    return load(preset, **options)
