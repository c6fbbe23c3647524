"""Calls the public functions with arguments of wrong types, as users do: with no types checked.

`python -m tests.hostile.arguments` prints each that ends in anything but an error of carlab's.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import carlab
from carlab.backbones import load_backbone
from carlab.datasets import load_dataset
from carlab.errors import CarlabError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.grid import variants
from carlab.files.images import list_images, load_image
from carlab.hooks import edit, record
from carlab.presets import load
from carlab.queries import check_queries
from carlab.settings import SETTINGS, change
from carlab.stages.filter import Threshold
from carlab.trace import Trace
from tests.traces import make_trace

IMAGE = np.zeros((24, 32, 3), np.uint8)


class NoPath:
    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class NoList:
    def __iter__(self) -> Any:
        raise RuntimeError("no list")


class NoText:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


WRONG: dict[str, Any] = {
    **{"None": None, "3": 3, "2.5": 2.5, "True": True, "bytes": b"x", "[]": [], "a list": ["offline"]},
    **{"[3]": [3], "{}": {}, "a dict": {"a": 1}, "a set": {1}, "an object": object(), "no path": NoPath()},
    **{"no list": NoList(), "no text": NoText(), "an array": np.zeros(3), "a numpy int": np.int64(3)},
    **{
        "nan": float("nan"),
        "inf": float("inf"),
        "endless": 10**400,
        "-1": -1,
        "empty": "",
        "other": "nothing",
    },
    **{
        "escape": "\x1b[2J",
        "long": "x" * 5000,
        "nul": "a\0b",
        "a path": Path("nowhere"),
        "a range": range(3),
    },
    **{"a function": print, "a type": int, "complex": 1j, "a tuple": (1, 2), "[None]": [None]},
    "surrogate": "\ud800",
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "segment image": lambda value: carlab.segment(value, ["cat"]),
    "queries": check_queries,
    "segment preset": lambda value: carlab.segment(IMAGE, ["cat"], preset=value),
    "load preset": load,
    "load device": lambda value: load("offline", device=value),
    "load dtype": lambda value: load("offline", dtype=value),
    "load regions": lambda value: load("offline", regions=value),
    "load classifier": lambda value: load("offline", classifier=value),
    "backbone": load_backbone,
    "data set": lambda value: load_dataset(value, "."),
    "root": lambda value: load_dataset("voc21", value),
    "split": lambda value: load_dataset("voc21", ".", value),
    "trace file": Trace.load,
    "query of a trace": lambda value: make_trace()[value],
    "figure": lambda value: make_trace().figure(value),
    "run": RunFolder.read,
    "image": load_image,
    "images": list_images,
    "grid": variants,
    "threshold": Threshold,
    "record": lambda value: record(value).__enter__(),
    "edit": lambda value: edit(value, print).__enter__(),
}
FINE = {
    *(("load regions", name) for name in ("None",)),
    *(("load classifier", name) for name in ("None", "empty")),
    *(("grid", name) for name in ("[]", "{}")),
    *(("queries", name) for name in ("a list", "a dict", "other", "long")),
}
"""What can be used after all."""


FIELDS = ("mask_threshold", "min_steps", "max_steps", "batch", "name", "background")


def all_calls() -> dict[str, Callable[[Any], Any]]:
    """Those, the fields and settings of a model, and what a call of one takes."""
    model = load("offline")
    made = {f"field {name}": lambda value, name=name: replace(model, **{name: value}) for name in FIELDS}
    made |= {
        f"setting {row.key}": lambda value, key=row.key: change(model, **{key: value})
        for row in SETTINGS.values()
    }
    made["background of a call"] = lambda value: model(IMAGE, ["cat"], background=value)
    made["record of a call"] = lambda value: model(IMAGE, ["cat"], record=value)
    return CALLS | made


def failures() -> Iterator[str]:
    """What goes wrong: a call and a value, and what it ended in."""
    for call, function in all_calls().items():
        for name, value in WRONG.items():
            try:
                function(value)
            except CarlabError as error:
                if not str(error).isprintable() or len(str(error)) > 2000:
                    yield f"{call} {name}: {str(error)[:100]!r}"
            except Exception as error:
                yield f"{call} {name}: {type(error).__name__}"
            else:
                if call in CALLS and (call, name) not in FINE:
                    yield f"{call} {name}: accepted"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("\n".join(failures()))
