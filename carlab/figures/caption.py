"""The caption of a figure: what it shows, by which settings, and digests of the traces behind it."""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from carlab.trace import Trace
from carlab.trace.provenance import leaves
from carlab.trace.show import backbones, printable
from carlab.trace.trace import COST

LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "…": r"\ldots{}"},
}
SYMBOLS = {
    "filter.theta": r"$\theta$",
    "mask_threshold": r"$\eta$",
    "proposer.affinity.box_threshold": r"$\lambda$",
}
"""Settings that the text names; all others in common stand in comments."""
WHAT = {
    "strip": "The recurrence, step by step: soft masks outlined at eta, and scores.",
    "prompts": "One mask drawn by every visual prompt.",
    "grid": "Images and results, one colour for each query.",
    "postprocessors": "Masks before and after the post-processor.",
    "scores": "Scores of the queries over the steps; a cross where one is dropped.",
    "pipeline": "The stages with the intermediate pictures of one step.",
    "video": "Frames of a video with their masks, and the last score of each query over time.",
    "overlay": "The image with its final masks.",
    "recurrence": "Activation map, mask, prompted image and score of every query in every step.",
}


def latex(text: str) -> str:
    r"""Return a text of a user as LaTeX shows it: no letter of it is a command.

    Parameters
    ----------
    text
        Control characters are replaced.

    Examples
    --------
    >>> print(latex("50 % of $x_1$"))
    50 \% of \$x\_1\$
    """
    return "".join(LATEX.get(letter, letter) for letter in printable(text))


def digest(trace: Trace) -> str:
    """Return the sha256 of everything that a trace computed, its cost left out.

    Parameters
    ----------
    trace
        Any; equal traces have equal digests.

    Examples
    --------
    >>> digest(trace) == digest(replace(trace, seconds={"vjp": 1.0}))
    True
    """
    arrays, metadata = trace.to_arrays()
    known = {name: value for name, value in metadata.items() if name not in COST}
    whole = sha256(json.dumps(known, sort_keys=True).encode())
    for name in sorted(arrays):
        whole.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        whole.update(arrays[name].tobytes())
    return whole.hexdigest()


def caption(kind: str, traces: Sequence[Trace]) -> str:
    """Return the caption of a figure as LaTeX: what it is, models, settings in common, and digests.

    Parameters
    ----------
    kind, traces
        The figure's kind, and what it was drawn from.

    Examples
    --------
    >>> print(caption("scores", [trace]).splitlines()[0])
    Scores of the queries over the steps; a cross where one is dropped.
    """
    made = [trace.provenance for trace in traces]
    presets = _different(one.get("preset", "") for one in made)
    models = _different(backbones(one) for one in made)
    shared = set.intersection(*(set(leaves(trace.settings)) for trace in traces)) if traces else set()
    numbers = [f"{symbol} = {dict(shared)[name]}" for name, symbol in SYMBOLS.items() if name in dict(shared)]
    lines = [WHAT.get(kind, "")]
    lines += [f"Preset {latex(presets)}; backbones {latex(models)}."] if presets or models else []
    lines += ["Settings: " + ", ".join(numbers) + "."] if numbers else []
    lines += [f"% {latex(name)} = {latex(value)}" for name, value in sorted(shared)]
    lines += [f"% trace {number}: sha256 {digest(trace)}" for number, trace in enumerate(traces, 1)]
    return "\n".join(filter(None, lines)) + "\n"


def _different(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(filter(None, values)))
