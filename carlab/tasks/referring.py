"""Referring expressions: one run for each object, all on one trunk pass, and one trace that shows them all.

As released (docs/method.md, quirk 12): each expression is proposed against the background alone, those of one
object compete in the classifier, those of different objects never do, and the masks of one object are merged
by their scores.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from carlab.batch import Job, Request, run_many
from carlab.errors import ComputeError, ImageError, QueryError
from carlab.metrics.referring import merge_released
from carlab.queries import check_queries
from carlab.recurrence import ClipAsRnn
from carlab.trace.trace import Step, Trace

Expressions = Sequence[str | Sequence[str]]
"""One text for each object, or the several texts of one object as a list."""


def refer_many(
    model: ClipAsRnn,
    images: Iterable[Any],
    expressions: Expressions,
    *,
    merge: bool = True,
    background: Sequence[str] | None = None,
    workers: int = 1,
) -> Iterator[Trace | ImageError | ComputeError]:
    """Find the objects that expressions refer to, in every image, in order; yield a trace for each.

    An image that cannot be read yields its ImageError, one at which a library raised its ComputeError. Raises
    CarlabError if the expressions or the model cannot be used.

    Parameters
    ----------
    model
        Of a `reference/refcoco...` preset, or any other with the setting `refer`.
    images, background
        As `ClipAsRnn` takes them.
    expressions
        A text is the one expression of an object. A list of texts is one object: its expressions compete in
        the classifier, and their masks become one if `merge` says so.
    merge
        Whether an object has one mask, as `merge_released` makes it; otherwise each expression has its own.
    workers
        See `run_many`.

    Examples
    --------
    >>> (found,) = refer_many(model, [image], ["the dog", ["red car", "the car"]], workers=0)
    >>> found.queries, found.settings["referring"]["objects"]
    (('the dog', 'red car', 'the car'), [[0], [1, 2]])
    """
    objects = _objects(expressions)
    requests = [Request(texts, background) for texts in objects]
    for results in run_many(model, (Job(image, requests) for image in images), workers=workers):
        wrong = next((one for one in results if not isinstance(one, list)), None)
        if wrong is None:
            yield joined([one[0] for one in results if isinstance(one, list)], merge=merge)
        elif isinstance(wrong, ImageError | ComputeError):
            yield wrong
        else:
            raise wrong


def joined(traces: Sequence[Trace], *, merge: bool = True) -> Trace:
    """Return the traces of several objects in one image as one trace: a query for each expression.

    P_t is 0 between expressions of different objects, which do not compete. An object whose run has ended is
    shown as it ended. The trace of one object keeps its recorded probes; of several, which differ in their
    queries, none is kept.

    Parameters
    ----------
    traces
        One for each object, of one image and one model, with different queries.
    merge
        Whether each expression that is kept gets the mask of its object, see `merged`.

    Examples
    --------
    >>> other = replace(trace, queries=("bird", "cup", "bed"))
    >>> both = joined([trace, other])
    >>> both.found, both.steps[0].probs[0].round(1)
    (('cat', 'bird'), array([0.8, 0.1, 0.1, 0. , 0. , 0. ], dtype=float32))
    """
    own = [merged(trace) if merge else trace for trace in traces]
    firsts = np.cumsum([0, *(len(trace.queries) for trace in own)])
    objects = [list(range(a, b)) for a, b in pairwise(firsts)]
    settings = {**own[0].settings, "referring": {"objects": objects, "merged": merge}}
    if len(own) == 1:
        return replace(own[0], settings=settings)
    steps = range(max(len(trace.steps) for trace in own))
    parts = [[_state(trace, t) for trace in own] for t in steps]
    return replace(
        own[0],
        queries=tuple(query for trace in own for query in trace.queries),
        # What competes is the same for all, but that no query competes against itself.
        background=tuple(dict.fromkeys(text for trace in own for text in trace.background)),
        steps=tuple(_beside(states, firsts) for states in parts),
        refined=np.concatenate([trace.refined for trace in own]),
        stop=", ".join(dict.fromkeys(trace.stop for trace in own)),
        settings=settings,
        probes={},
        seconds=_total([trace.seconds for trace in own]),
        passes=_total([trace.passes for trace in own]),
    )


def merged(trace: Trace) -> Trace:
    """Return the trace of one object in which each expression that is kept has the mask of the object.

    Parameters
    ----------
    trace
        Its queries are the expressions of one object.

    Examples
    --------
    >>> bool((merged(trace)["cat"] == trace["cat"]).all())
    True
    """
    last = trace.steps[-1]
    if last.kept.sum() < 2:
        return trace
    whole = merge_released(trace.refined, last.scores[last.kept].tolist())
    return replace(trace, refined=np.repeat(whole[None], len(trace.refined), axis=0))


def _objects(expressions: Any) -> list[tuple[str, ...]]:
    """Return the expressions of each object; QueryError if one is no text, blank, or there twice."""
    if isinstance(expressions, str | bytes) or not isinstance(expressions, Sequence):
        raise QueryError(
            f"expected a list of expressions, got {type(expressions).__name__}; write "
            "['the man on the left'], or [['the man on the left', 'man in red']] for one object"
        )
    objects = [
        [one] if isinstance(one, str) or not isinstance(one, Sequence) else [*one] for one in expressions
    ]
    if [] in objects:
        raise QueryError("expected an expression for every object, got an empty list; write or remove it")
    texts = iter(check_queries([text for one in objects for text in one]))
    return [tuple(next(texts) for _ in one) for one in objects]


def _state(trace: Trace, t: int) -> Step:
    """Return step `t`; beyond the last one, the survivors as they were at the end."""
    if t < len(trace.steps):
        return trace.steps[t]
    last = trace.steps[-1]
    kept = last.kept
    arrays = {name: getattr(last, name)[kept] for name in ("active", "cams", "masks", "prompted", "kept")}
    return Step(**arrays, probs=last.probs[np.ix_(kept, kept)])


def _beside(states: Sequence[Step], firsts: Int[np.ndarray, " o"]) -> Step:
    """Return the steps of several objects as one step of all their queries."""
    active = np.concatenate([state.active + first for state, first in zip(states, firsts, strict=False)])
    cams, masks, prompted, kept = (
        np.concatenate([getattr(state, name) for state in states])
        for name in ("cams", "masks", "prompted", "kept")
    )
    probs = _block_diagonal([state.probs for state in states])
    return Step(active, cams, masks, prompted, probs, kept, {}, _total([state.seconds for state in states]))


def _block_diagonal(blocks: Sequence[Float32[np.ndarray, "_ _"]]) -> Float32[np.ndarray, "q q"]:
    whole = np.zeros([sum(map(len, blocks))] * 2, dtype=np.float32)
    start = 0
    for block in blocks:
        end = start + len(block)
        whole[start:end, start:end] = block
        start = end
    return whole


def _total(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}
