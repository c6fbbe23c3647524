"""Checked by mypy, never run: the front door has types, and a misspelt name is an error.

`make lint` fails if one of these lines is no error, for its ignore is then unused.
"""

from typing import assert_type

import carlab

assert_type(carlab.segment("cat.jpg", ["cat"]), carlab.Trace)
assert_type(carlab.refer("park.jpg", ["the dog", ["the man", "he"]]), carlab.Trace)
assert_type(carlab.load("offline"), carlab.ClipAsRnn)
assert_type(carlab.change(carlab.load(), theta=0.3), carlab.ClipAsRnn)
carlab.segmnt("cat.jpg", ["cat"])  # type: ignore[attr-defined]
carlab.segment("cat.jpg", "cat", presets="offline", record=3)  # type: ignore[arg-type]
carlab.load(preset=3)  # type: ignore[arg-type]
