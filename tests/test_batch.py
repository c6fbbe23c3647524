"""Many photos at once: the same traces as one by one, in order, with shared batches and bounded memory."""

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from loky import get_reusable_executor

from carlab.batch import Job, Request, run_many
from carlab.errors import ComputeError, ImageError, QueryError, SettingError
from carlab.hooks import edit, record
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.stages.filter import Threshold
from carlab.stages.proposer import GradCam
from carlab.stages.refiner import DenseCrf, NoRefiner
from tests.conftest import WORDS


def photos(number: int) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    return [random.integers(0, 256, (40 + 3 * k, 50, 3), dtype=np.uint8) for k in range(number)]


def jobs(number: int) -> list[Job]:
    return [Job(photo, [Request(WORDS[: 2 + k % 2])]) for k, photo in enumerate(photos(number))]


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("workers", [0, 1])
def test_many_is_one_by_one(tiny: ClipAsRnn, together: int, workers: int) -> None:
    model = replace(tiny, filter=Threshold(0.34), refiner=DenseCrf(iterations=2))
    expected = [model(job.image, job.requests[0].queries) for job in jobs(5)]
    results = list(run_many(model, jobs(5), together=together, workers=workers))
    for ((trace,),), alone in zip(results, expected, strict=True):
        assert trace.queries == alone.queries
        for name in ("trunk", "vjp", "image encode"):
            assert trace.passes[name] == alone.passes[name]
        assert trace.seconds.keys() == alone.seconds.keys()
        np.testing.assert_array_equal(trace.labels, alone.labels)
        np.testing.assert_allclose(trace.scores, alone.scores, atol=1e-5)


def test_torch_refines_here(tiny: ClipAsRnn, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process gets a CRF of torch, which may be on a GPU."""
    model = replace(tiny, filter=Threshold(0.34), refiner=DenseCrf(iterations=2, engine="torch"))
    expected = [model(job.image, job.requests[0].queries).labels for job in jobs(2)]
    monkeypatch.setattr("carlab.batch.get_reusable_executor", None)
    for ((trace,),), labels in zip(run_many(model, jobs(2), workers=1), expected, strict=True):
        np.testing.assert_array_equal(trace.labels, labels)
        assert trace.provenance["refiner.engine"] == "torch"
        assert trace.settings["refiner"]["engine"] == "torch"


def test_pictures_of_several_photos_share_a_batch(tiny: ClipAsRnn, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = type(tiny.classifier).encode_images
    monkeypatch.setattr(
        type(tiny.classifier), "encode_images", lambda self, p: sizes.append(len(p)) or original(self, p)
    )
    model = replace(tiny, filter=Threshold(0.0), max_steps=1, batch=100)
    list(run_many(model, jobs(6), together=3))
    assert sizes == [2 + 3 + 2, 3 + 2 + 3]


def test_runs_of_one_photo_share_its_pictures(tiny: ClipAsRnn) -> None:
    models = [replace(tiny, max_steps=1, filter=Threshold(theta)) for theta in (0.0, 0.3, 1.0)]
    ((traces,),) = run_many(tiny, [Job(photos(1)[0], [Request(WORDS, models=models)])])
    assert [trace.passes.get("image encode", 0) for trace in traces] == [len(WORDS), 0, 0]
    assert [trace.threshold for trace in traces] == [0.0, 0.3, 1.0]
    for trace, model in zip(traces, models, strict=True):
        np.testing.assert_array_equal(trace.labels, model(photos(1)[0], WORDS).labels)


def test_runs_of_one_photo_may_score_differently(tiny: ClipAsRnn) -> None:
    other = replace(tiny.classifier, templates=("a photo of {}",))
    models = [tiny, replace(tiny, classifier=other), replace(tiny, filter=Threshold(1.0), max_steps=1)]
    ((traces,),) = run_many(tiny, [Job(photos(1)[0], [Request(WORDS, models=models)])], workers=0)
    for trace, model in zip(traces, models, strict=True):
        alone = model(photos(1)[0], WORDS)
        np.testing.assert_allclose(trace.scores, alone.scores, atol=1e-5)


def test_a_stream_that_is_closed_takes_no_more_jobs(tiny: ClipAsRnn) -> None:
    taken = []

    def endless() -> Iterator[Job]:
        for number in count():
            taken.append(number)
            yield Job(photos(1)[0], [Request(WORDS[:2])])

    threads = threading.active_count()
    results = run_many(tiny, endless(), together=2, workers=0)
    next(results)
    before = len(taken)
    results.close()
    assert len(taken) == before
    assert threading.active_count() == threads, "the decoder's thread still runs"


def test_a_bad_job_is_an_error_in_its_place(tiny: ClipAsRnn) -> None:
    good = jobs(3)
    no_queries = Job(good[1].image, [Request([])])
    bad = [good[0], Job(b"no photo", [Request(WORDS)]), good[1], no_queries, good[2]]
    kinds = [type(result) for (result,) in run_many(tiny, bad, together=2)]
    assert kinds == [list, ImageError, list, QueryError, list]


def test_requests_of_one_image_share_its_trunk_and_stand_alone(tiny: ClipAsRnn) -> None:
    image, groups = photos(1)[0], [WORDS[:2], WORDS[2:4], WORDS[4:]]
    (results,) = run_many(tiny, [Job(image, [Request(group) for group in groups])], workers=0)
    passes = Counter[str]()
    for (trace,), group in zip(results, groups, strict=True):
        passes.update(trace.passes)
        alone = tiny(image, group)
        np.testing.assert_array_equal(trace.labels, alone.labels)
        np.testing.assert_allclose(trace.scores, alone.scores, atol=1e-5)
    assert passes["trunk"] == 1


@pytest.mark.parametrize("partial", [False, True])
def test_a_query_that_is_too_long_may_cost_itself_alone(tiny: ClipAsRnn, partial: bool) -> None:
    image, long = photos(1)[0], "x" * 100
    requests = [Request(["cat", long, "dog"], partial=partial), Request([long], partial=partial)]
    ((first, second), (other,)) = run_many(tiny, [Job(image, requests), jobs(1)[0]], workers=0)
    assert isinstance(second, QueryError)
    assert isinstance(other, list)
    if partial:
        assert isinstance(first, list)
        assert first[0].queries == ("cat", "dog")
    else:
        assert isinstance(first, QueryError)


def test_jobs_are_taken_as_they_are_needed(tiny: ClipAsRnn) -> None:
    taken = []

    def endless() -> Iterator[Job]:
        while True:
            taken.append(1)
            yield Job(photos(1)[0], [Request(WORDS[:2])])

    results = run_many(tiny, endless(), together=2)
    for _ in range(3):
        next(results)
    assert len(taken) <= 3 + 2 * 2 + 2 + 1  # done, in work, decoded, asked for
    results.close()


def test_hooks_see_each_run_alone(tiny: ClipAsRnn) -> None:
    model = replace(tiny, filter=Threshold(0.34))
    expected = [model(job.image, job.requests[0].queries, record=["cam.raw"]) for job in jobs(3)]
    with record("cam.raw"):
        results = list(run_many(model, jobs(3), together=3))
    for ((trace,),), alone in zip(results, expected, strict=True):
        for step, same in zip(trace.steps, alone.steps, strict=True):
            np.testing.assert_array_equal(step.probes["cam.raw"], same.probes["cam.raw"])
    with edit("filter.scores", np.zeros_like):
        nothing = replace(model, filter=Threshold(0.34, keep_best=False))
        assert [trace.stop for ((trace,),) in run_many(nothing, jobs(3))] == ["nothing present"] * 3


def raising_on(
    photo: np.ndarray, error: Exception, monkeypatch: pytest.MonkeyPatch, most: int = 0
) -> list[int]:
    """Let the trunk raise on one image, and on any while more than `most` are in memory, if that is not 0."""
    alive: WeakSet[Photo] = WeakSet()
    seen, original, created = [], GradCam.prepare, Photo.of

    def of(source: Any) -> Photo:
        alive.add(made := created(source))
        return made

    def prepare(self: GradCam, on: Photo, *rest: Any) -> Any:
        seen.append(sum(len(one.cache) > 0 for one in alive))
        if np.array_equal(on.image, photo) or (most and seen[-1] > most):
            raise error
        return original(self, on, *rest)

    monkeypatch.setattr(Photo, "of", of)
    monkeypatch.setattr(GradCam, "prepare", prepare)
    return seen


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nmore"),
            "enough memory.* 3 GiB",
        ),
        (MemoryError(), "enough memory.*got MemoryError;"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "enough memory.*DefaultCPUAllocator"),
        (ZeroDivisionError("division by zero"), r"ZeroDivisionError \(division by zero\)"),
    ],
)
def test_whatever_an_image_raises_costs_no_other(
    tiny: ClipAsRnn, error: Exception, said: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(tiny, filter=Threshold(0.34), refiner=DenseCrf(iterations=1))
    work = jobs(5)
    expected = [model(job.image, job.requests[0].queries) for job in work]
    raising_on(work[2].image, error, monkeypatch)
    results = [result for (result,) in run_many(model, work, together=2, workers=workers)]
    failed = results.pop(2)
    assert isinstance(failed, ComputeError)
    assert re.search(said, str(failed))
    assert "\n" not in str(failed)
    assert failed.__traceback__ is None, "it would hold the arrays of its frames"
    for result, alone in zip(results, expected[:2] + expected[3:], strict=True):
        assert isinstance(result, list)
        np.testing.assert_array_equal(result[0].labels, alone.labels)


def test_images_too_many_for_the_memory_are_run_alone(
    tiny: ClipAsRnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three fit in the memory of a group; those of the group before are done and gone by then."""
    work = jobs(8)
    expected = [tiny(job.image, job.requests[0].queries) for job in work]
    raising_on(np.zeros((1, 1, 3), np.uint8), MemoryError("full"), monkeypatch, most=3)
    results = run_many(tiny, work, together=4, workers=0)
    for (result,), alone in zip(results, expected, strict=True):
        assert isinstance(result, list), result
        np.testing.assert_allclose(result[0].scores, alone.scores, atol=1e-5)


def test_a_model_that_fails_costs_no_other_request(tiny: ClipAsRnn) -> None:
    @dataclass(frozen=True)
    class Broken(NoRefiner):
        def __call__(self, image: Any, masks: Any) -> Any:
            raise OSError("no disk")

    models = [tiny, replace(tiny, refiner=Broken())]
    requests = [Request(WORDS[:2], models=[model]) for model in models]
    ((first, second),) = run_many(tiny, [Job(photos(1)[0], requests)], workers=0)
    assert isinstance(first, list)
    assert isinstance(second, ComputeError)
    assert "no disk" in str(second)


def test_a_process_that_is_killed_is_started_again(tiny: ClipAsRnn, tmp_path: Path) -> None:
    """As the kernel does where memory ends: once for image 1, and always for image 3."""
    model = replace(tiny, filter=Threshold(0.0), max_steps=1, refiner=Deadly(iterations=1, out=str(tmp_path)))
    work = jobs(5)
    (tmp_path / str(work[1].image.shape[0])).write_text("1")
    (tmp_path / str(work[3].image.shape[0])).write_text("9")
    kinds = [type(result) for (result,) in run_many(model, work, together=1, workers=1)]
    assert kinds == [list, list, list, ComputeError, list]


@dataclass(frozen=True)
class Deadly(DenseCrf):
    """Kills its process as often as a file, named by the height of the image, says."""

    out: str = ""
    chosen_engine = "pydensecrf"

    def __call__(self, image: Any, masks: Any) -> Any:
        file = Path(self.out) / str(image.shape[0])
        left = int(file.read_text()) if file.exists() else 0
        if left:
            file.write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return NoRefiner(0.4)(image, masks)


def refined_in_workers(model: ClipAsRnn, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """The executor in whose processes the masks of three images were refined, as on one by one."""
    pytest.importorskip("pydensecrf")
    kept = []

    def executor(**given: Any) -> Any:
        kept.append(get_reusable_executor(**given, **options))
        return kept[-1]

    monkeypatch.setattr("carlab.batch.get_reusable_executor", executor)
    model = replace(model, filter=Threshold(0.0), max_steps=1, refiner=DenseCrf(iterations=2))
    for ((trace,),), job in zip(run_many(model, jobs(3), workers=2), jobs(3), strict=True):
        alone = model(job.image, job.requests[0].queries)
        np.testing.assert_array_equal(trace.labels, alone.labels)
    return kept[-1]


def test_workers_share_the_threads(tiny: ClipAsRnn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    executor = refined_in_workers(tiny, monkeypatch)
    assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "3"
    assert executor.submit(os.getenv, "OMP_WAIT_POLICY").result() == "PASSIVE"


def test_workers_where_processes_cannot_fork(tiny: ClipAsRnn, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows and macOS: a fresh interpreter, to which everything travels by pickle."""
    executor = refined_in_workers(tiny, monkeypatch, context=get_context("spawn"))
    kind = executor.submit(eval, "type(__import__('multiprocessing').current_process()).__name__")
    assert kind.result() == "SpawnProcess"


@pytest.mark.parametrize(
    ("wrong", "said"), [({"together": 0}, "from 1 on, got 0"), ({"workers": -1}, "from 0 on, got -1")]
)
def test_bounds(tiny: ClipAsRnn, wrong: dict[str, int], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        list(run_many(tiny, jobs(1), **wrong))
