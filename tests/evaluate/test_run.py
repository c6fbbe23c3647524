"""A run on disk: what it records, how it goes on, and what it refuses."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch

from carlab.datasets import Dataset, Sample
from carlab.errors import RunError
from carlab.evaluate.folder import RunFolder, claimed, file_name
from carlab.evaluate.manifest import manifest
from carlab.evaluate.run import Plan, evaluate
from carlab.evaluate.summary import Summary
from carlab.evaluate.work import Outcome
from carlab.hooks import measure
from carlab.recurrence import ClipAsRnn, Run
from tests.evaluate.conftest import PICTURES, save_pictures
from tests.evaluate.helpers import Counting, assert_alike, here, numbers, run
from tests.hostile.strings import HOSTILE


def test_a_record_is_what_the_model_gives(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    tiny(dataset.find("0").image, dataset.queries)  # encodes the texts, so that no run below does
    run(dataset, tiny, tmp_path / "run")
    folder = RunFolder.read(tmp_path / "run")
    for sample in map(dataset.find, dataset.ids):
        record, trace, truth = folder.get(sample.id), tiny(sample.image, dataset.queries), sample.truth()
        assert record is not None
        pairs = Counter(zip(truth.ravel().tolist(), trace.labels.ravel().tolist(), strict=True))
        assert {(t, p): n for t, p, n in record["confusion"]} == {
            pair: n for pair, n in pairs.items() if pair[0] >= 0
        }
        assert record["true"] == sorted({true - 1 for true, _ in pairs if true > 0})
        assert record["kept"] == [step.survivors.tolist() for step in trace.steps]
        assert [row[:2] for row in record["drops"]] == [[drop.query, drop.step] for drop in trace.drops]
        assert (record["stop"], record["passes"]) == ([trace.stop], trace.passes)


def test_a_second_call_runs_nothing(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    with measure() as first:
        before = run(dataset, tiny, tmp_path / "run")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    with measure() as second:
        after = run(dataset, tiny, tmp_path / "run")
    assert (first.passes["trunk"], second.passes) == (PICTURES, {})
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert [after.interval(name) for name in after.metrics] == [
        before.interval(name) for name in before.metrics
    ]


def test_first_a_few_then_all(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    assert len(run(dataset, tiny, tmp_path / "parts", limit=2).records) == 2
    rest, told = Counting(), []
    done = run(
        dataset,
        tiny,
        tmp_path / "parts",
        engine=rest,
        progress=lambda left, _, score: told.append((left, score)),
    )
    assert rest.tasks == [(index, (0,)) for index in range(2, PICTURES)]
    assert [left for left, _ in told] == [3, 2, 1, 0]
    name, value = done.headline
    assert told[-1][1] == f"{name} {100 * value:.1f}"
    run(dataset, tiny, tmp_path / "whole")
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")
    assert len(run(dataset, tiny, tmp_path / "whole", limit=3).records) == 3


def stopping(after: int) -> Callable[[int, Outcome, str], None]:
    """A user who interrupts."""
    seen = []

    def progress(left: int, outcome: Outcome, _: str) -> None:
        seen.append(outcome)
        if len(seen) == after:
            raise KeyboardInterrupt

    return progress


def test_an_interrupt_loses_only_what_was_in_work(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(dataset, tiny, tmp_path / "run", progress=stopping(after=3))
    assert len(RunFolder.read(tmp_path / "run").ids) == 3
    rest = Counting()
    run(dataset, tiny, tmp_path / "run", engine=rest)
    assert len(rest.tasks) == PICTURES - 3


def test_a_kill_loses_only_what_was_in_work(tmp_path: Path) -> None:
    """The command itself, killed without warning once some images are done, and called again."""
    number = 12
    root = save_pictures(tmp_path / "data", number)
    killed = start_command(root, tmp_path / "killed")
    while len(list((tmp_path / "killed").glob("images/*.json"))) < 3:
        assert killed.poll() is None
        sleep(0.02)
    killed.kill()
    killed.wait()
    done = RunFolder.read(tmp_path / "killed").ids
    assert 3 <= len(done) < number
    for name in ("killed", "whole"):
        assert start_command(root, tmp_path / name).wait() == 0
    assert_alike(numbers(tmp_path / "killed"), numbers(tmp_path / "whole"))


def start_command(root: Path, out: Path) -> "Popen[bytes]":
    command = ["eval", "folder", "--root", str(root), "--preset", "offline", "-o", str(out)]
    program = [sys.executable, "-m", "carlab.cli", *command]
    return Popen(program, stdout=DEVNULL, stderr=DEVNULL)


OTHERS: list[tuple[str, Callable[[Dataset, ClipAsRnn], dict[str, Any]]]] = [
    ("theta", lambda data, model: {"settings": {"theta": 0.9}}),
    ("background", lambda data, model: {"model": replace(model, background=("sea",))}),
    ("labels_given", lambda data, model: {"dataset": replace(data, labels_given=True)}),
    ("queries", lambda data, model: {"dataset": replace(data, queries=("a", "b", "c", "d", "e"))}),
    ("digest", lambda data, model: {"dataset": replace(data, ids=data.ids[::-1])}),
]


@pytest.mark.parametrize(("name", "other"), OTHERS)
def test_other_settings_are_refused(
    name: str,
    other: Callable[[Dataset, ClipAsRnn], dict[str, Any]],
    dataset: Dataset,
    tiny: ClipAsRnn,
    tmp_path: Path,
) -> None:
    given = {"dataset": dataset, "model": tiny, "out": tmp_path / "run"}
    run(**given, limit=1)
    before = numbers(tmp_path / "run")
    with pytest.raises(RunError, match=rf"^expected the settings .*{name}.*; "):
        run(**{**given, **other(dataset, tiny)})
    assert numbers(tmp_path / "run") == before


def test_what_changes_no_result_may_change(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    run(dataset, tiny, tmp_path / "run", limit=3)
    run(dataset, tiny, tmp_path / "run", {"batch": 5})
    assert len(numbers(tmp_path / "run")) == PICTURES


def test_two_at_one_run(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "run", manifest(dataset, [tiny])),
        pytest.raises(RunError, match="another process"),
    ):
        run(dataset, tiny, tmp_path / "run")
    run(dataset, tiny, tmp_path / "run", limit=1)


def test_the_folder_of_somebody_else(root: Path, dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    there = sorted(root.rglob("*"))
    with pytest.raises(RunError, match="another --out"):
        run(dataset, tiny, root)  # images/ is there: the photos
    assert sorted(root.rglob("*")) == there
    with pytest.raises(RunError, match="another --out"):
        run(dataset, tiny, root / "names.txt")
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(RunError, match="folder of a run"):
        run(dataset, tiny, tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(RunError, match="format 1"):
        run(dataset, tiny, tmp_path)


def spoil_photo(root: Path) -> None:
    (root / "images" / "2.png").write_bytes(b"no picture")


def spoil_mask(root: Path) -> None:
    (root / "masks" / "2.png").unlink()


def other_size(root: Path) -> None:
    (root / "masks" / "2.png").write_bytes((root / "masks" / "3.png").read_bytes())


@pytest.mark.parametrize("spoil", [spoil_photo, spoil_mask, other_size])
def test_a_bad_image_is_recorded_and_tried_again(
    spoil: Callable[[Path], None], root: Path, dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path
) -> None:
    good = {path: path.read_bytes() for path in root.rglob("2.png")}
    spoil(root)
    summary = run(dataset, tiny, tmp_path / "run")
    assert (list(summary.failed), len(summary.records)) == (["2"], PICTURES - 1)
    assert summary.failed["2"].startswith("expected ")
    for path, content in good.items():
        path.write_bytes(content)
    again = Counting()
    assert not run(dataset, tiny, tmp_path / "run", engine=again).failed
    assert again.tasks == [(2, (0,))]
    run(dataset, tiny, tmp_path / "undisturbed")
    assert_alike(numbers(tmp_path / "run"), numbers(tmp_path / "undisturbed"))


@pytest.mark.parametrize("where", ["model", "truth"])
def test_an_image_that_raises_is_recorded_and_retried_last(
    where: str, dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory, in the model or while the truth is read, for image 1 and one variant of two."""
    original, full = Run.judge, [True]

    def find(identity: str) -> Sample:
        def truth() -> np.ndarray:
            if where == "truth" and identity == "1" and full:
                raise MemoryError
            return dataset.find(identity).truth()

        return replace(dataset.find(identity), truth=truth)

    def judge(self: Run) -> None:
        of_second = self.model.filter.theta == 0.9 and self.photo.image.shape[0] == 43  # image 1 alone
        if where == "model" and full and of_second:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.")
        original(self)

    plans = [Plan(tmp_path / name, {"theta": theta}) for name, theta in (("a", 0.2), ("b", 0.9))]
    monkeypatch.setattr(Run, "judge", judge)
    options = {"keep_traces": "none", "engine": partial(here, together=1)}
    small = replace(dataset, find=find)
    few = evaluate(small, tiny, plans, limit=3, **options)
    failed = [list(summary.failed) for summary in few]
    assert failed == ([[], ["1"]] if where == "model" else [["1"], ["1"]])
    assert few[1].failed["1"].startswith("expected enough memory for an image, got ")
    full.clear()
    last = Counting()
    both = evaluate(small, tiny, plans, **{**options, "engine": last})
    assert [index for index, _ in last.tasks] == [3, 4, 5, 1]
    assert last.tasks[-1][1] == ((1,) if where == "model" else (0, 1))
    assert [len(summary.records) for summary in both] == [PICTURES] * 2
    run(dataset, tiny, tmp_path / "undisturbed", {"theta": 0.9})
    assert_alike(numbers(tmp_path / "b"), numbers(tmp_path / "undisturbed"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "another"}', '{"id": "1"'])
def test_a_damaged_record_is_named(content: str, dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    run(dataset, tiny, tmp_path, limit=2)
    (tmp_path / "images" / "1.json").write_text(content)
    with pytest.raises(RunError, match=r"1\.json"):
        run(dataset, tiny, tmp_path)


def test_ids_become_different_names_of_files() -> None:
    ids = [*HOSTILE, "a/b", "a_b", "a%2Fb", "..", "x" * 10_001]
    names = [file_name(identity) for identity in ids]
    assert len(set(names)) == len(ids)
    assert not any(set(name) & set('/\\:*?"<>|\0\n') or len(name) > 200 for name in names)


def test_numbers_do_not_hang_on_the_order_of_ids(dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path) -> None:
    """`carlab eval` sums up in the order of the data set, `carlab report` in that of the files."""
    run(dataset, tiny, tmp_path)
    folder = RunFolder.read(tmp_path)
    a, b = (Summary.of(folder, ids) for ids in (dataset.ids, dataset.ids[::-1]))
    assert [a.interval(name) for name in a.metrics] == [b.interval(name) for name in b.metrics]
    assert a.protocol == b.protocol


@pytest.mark.parametrize("together", [1, 4])
def test_how_many_are_in_work_changes_no_record(
    together: int, dataset: Dataset, tiny: ClipAsRnn, tmp_path: Path
) -> None:
    run(dataset, tiny, tmp_path / "two")
    run(dataset, tiny, tmp_path / "other", engine=partial(here, together=together))
    two, other = numbers(tmp_path / "two"), numbers(tmp_path / "other")
    for name, record in two.items():
        scores = ([row.pop(2), row.pop(2)] for side in (record, other[name]) for row in side["drops"])
        first, second = np.array(list(scores)).reshape(2, -1)
        np.testing.assert_allclose(first, second, atol=1e-5)
        assert record == other[name]
