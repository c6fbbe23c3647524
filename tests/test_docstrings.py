"""Examples in docstrings run, and public functions and classes have the sections that readers look for."""

import doctest
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks.house import docstrings, modules
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.settings import change
from tests.traces import make_trace

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "carlab").rglob("*.py")
    if ">>> " in path.read_text() and path.name != "__init__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """`image`, `trace` and `model` are what CONTRIBUTING.md says they are."""
    module = import_module(name)
    given = {"np": np, "replace": replace, "image": photo, "model": tiny, "trace": make_trace()}
    given |= {"Photo": Photo, "change": change}
    tests = [test for test in doctest.DocTestFinder().find(module, extraglobs=given) if test.examples]
    assert tests
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        assert runner.run(test).failed == 0, test.name


def test_parameters_are_described_and_shown() -> None:
    """In the rooms that CONTRIBUTING.md names: counted, so that none is lost without notice."""
    texts = docstrings(modules(ROOT))
    assert len(texts) > 90
    assert sum("Parameters\n" in text for text in texts) > 0.8 * len(texts)
    assert sum(">>> " in text for text in texts) > 0.6 * len(texts)
