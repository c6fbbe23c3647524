"""The engine for many machines, on a cluster of two workers on this one."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from carlab.datasets import Dataset, Sample, load_dataset
from carlab.evaluate.machines import run_on_ray
from carlab.recurrence import ClipAsRnn
from tests.evaluate.helpers import assert_alike, numbers, run

ray = pytest.importorskip("ray")
on_ray = partial(run_on_ray, workers=2)


@pytest.fixture
def dataset(root: Path) -> Dataset:
    """Opened again by each worker: the checks of array types, switched on in the tests, cannot travel."""

    def find(identity: str) -> Sample:
        return load_dataset("folder", root).find(identity)

    return replace(load_dataset("folder", root), find=find)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def test_both_engines_give_the_same_numbers(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    here = run(dataset, tiny, tmp_path / "here")
    there = run(dataset, tiny, tmp_path / "there", engine=on_ray)
    assert_alike(numbers(tmp_path / "there"), numbers(tmp_path / "here"))
    np.testing.assert_array_equal(there.rows, here.rows)


def test_a_worker_that_is_killed_loses_nothing(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    killed, third, opened = tmp_path / "killed", dataset.ids[2], dataset.find

    def find(identity: str) -> Sample:
        if identity == third and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return opened(identity)

    run(dataset, tiny, tmp_path / "here")
    run(replace(dataset, find=find), tiny, tmp_path / "there", engine=on_ray)
    assert killed.read_text() != str(os.getpid())
    assert_alike(numbers(tmp_path / "there"), numbers(tmp_path / "here"))


def test_a_picture_that_cannot_be_read_is_an_outcome(
    dataset: Dataset, root: Path, tiny: ClipAsRnn, tmp_path: Path
) -> None:
    (root / "images/3.png").write_bytes(b"no picture")
    summary = run(dataset, tiny, tmp_path / "there", engine=on_ray)
    assert list(summary.failed) == ["3"]
    assert len(summary.records) == len(dataset) - 1
