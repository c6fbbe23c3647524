"""Readers of referring expressions: REFER's pickles, gRefCOCO's JSON, and a plain list."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carlab.datasets import Dataset, load_dataset
from carlab.datasets.refer import tidy
from carlab.errors import DatasetError
from tests.datasets.builders import (
    SIZE,
    annotation,
    instances,
    labels,
    polygon,
    run_lengths,
    save_json,
    save_photo,
)

LEFT, RIGHT = (slice(0, 4), slice(0, 3)), (slice(1, 6), slice(5, 8))


def reference(number: int, meant: Any, part: str, *sentences: str, image: int = 7) -> dict[str, Any]:
    """A row of REFER: an object, and what people said of it."""
    return {
        "ref_id": number,
        "ann_id": meant,
        "image_id": image,
        "category_id": 1,
        "split": part,
        "file_name": f"COCO_train2014_{image:012d}_{number}.jpg",
        "sentences": [{"raw": text, "sent": "?", "tokens": text.split(), "sent_id": 1} for text in sentences],
    }


def save(root: Path, name: str, refs: Any, stem: str = "refs(unc)", protocol: int | None = 0) -> Path:
    """The folder of a data set with two objects on photo 7; a pickle unless `protocol` is None."""
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[LEFT], right[RIGHT] = True, True
    rows = [annotation(11, 7, 1, run_lengths(left), 12), annotation(12, 7, 1, [polygon(*RIGHT)], 15)]
    home = root / name
    save_json(home / "instances.json", instances(rows, images=(7, 9)))
    if protocol is None:
        save_json(home / f"{stem}.json", refs)
    else:
        (home / f"{stem}.p").write_bytes(pickle.dumps(refs, protocol))
    for number in (7, 9):
        save_photo(root / "images" / "mscoco" / "images" / "train2014" / f"{number:012d}.jpg")
    return root


REFS = [
    reference(1, 12, "val", "Right  cup", 'the "blue" one/thing'),
    reference(2, 11, "testA", "never asked"),
    reference(3, 11, "val", "left cup", " "),
]


def union(*regions: tuple[slice, slice]) -> np.ndarray:
    return labels(*((*region, 1) for region in regions)).astype(bool)


def check(data: Dataset) -> None:
    assert data.ids == ("7",)
    assert data[0].expressions == ("right cup", "the blue onething", "left cup")
    assert data[0].objects == ("1", "1", "3")  # by reference
    assert data[0].released_truth is None
    np.testing.assert_array_equal(data[0].truth(), [union(RIGHT), union(RIGHT), union(LEFT)])


@pytest.mark.parametrize("protocol", [0, 2, 5, None])
@pytest.mark.parametrize("name", ["refcoco", "refcoco+"])
def test_refer_as_pickle_of_any_age_or_json(name: str, protocol: int | None, tmp_path: Path) -> None:
    check(load_dataset(name, save(tmp_path, name, REFS, protocol=protocol)))


def test_who_split_it_names_the_file(tmp_path: Path) -> None:
    save(tmp_path, "refcocog", REFS, "refs(umd)")
    check(load_dataset("refcocog", tmp_path))
    with pytest.raises(DatasetError, match=r"refs\(google\)\.p"):
        load_dataset("refcocog", tmp_path, "google/val")
    with pytest.raises(DatasetError, match="umd/test"):
        load_dataset("refcocog", tmp_path, "umd/test")


def test_grefcoco_means_several_objects_or_none(tmp_path: Path) -> None:
    refs = [
        reference(1, [11, 12], "val", 'Both  "cups"/mugs', "cups"),
        reference(2, [-1], "val", "a camel"),
    ]
    sample = load_dataset("grefcoco", save(tmp_path, "grefcoco", refs, "grefs(unc)", None))[0]
    # The released code changes the sentences of RefCOCO alone, and runs each of these by itself.
    assert sample.expressions == ('Both "cups"/mugs', "cups", "a camel")
    assert [len(rows) for rows in sample.members.values()] == [1, 1, 1]
    both = union(LEFT, RIGHT)
    np.testing.assert_array_equal(sample.truth(), [both, both, union()])
    assert sample.released_truth is not None
    np.testing.assert_array_equal(sample.released_truth(), [union(LEFT), union(LEFT), union()])


def test_photos_may_stand_beside_the_annotations(tmp_path: Path) -> None:
    save(tmp_path / "refer" / "data", "refcoco", REFS)
    (tmp_path / "refer/data/images/mscoco/images/train2014").rename(tmp_path / "train2014")
    check(load_dataset("refcoco", tmp_path))
    assert load_dataset("refcoco", tmp_path)[0].image.is_relative_to(tmp_path / "train2014")


class Malicious:
    """Runs a command when it is unpickled by a careless reader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {self.mark}",)


class Imported:
    """Imports a module when it is unpickled by a careless reader."""

    def __reduce__(self) -> Any:
        return __import__, ("antigravity",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_that_runs_code_is_refused_before_it_runs(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for hidden in (Malicious(mark), Imported(), np.int64(3)):
        refs = [reference(1, 12, "val", "a cup"), {"ann_id": hidden}]
        with pytest.raises(DatasetError, match=r"refs\(unc\)\.p.*not plain data"):
            load_dataset("refcoco", save(tmp_path, "refcoco", refs, protocol=protocol))
    assert not mark.exists()
    pickle.loads(pickle.dumps(Malicious(mark), protocol))  # noqa: S301 - the trap does work
    assert mark.exists()


@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_a_truncated_pickle(kept: int, tmp_path: Path) -> None:
    file = save(tmp_path, "refcoco", REFS) / "refcoco" / "refs(unc).p"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=r"refs\(unc\)\.p"):
        load_dataset("refcoco", tmp_path)


@pytest.mark.parametrize(
    "refs",
    [
        5,
        {"a": 1},
        ["a"],
        [{}],
        [{"split": "val"}],
        [reference(1, "x", "val", "a cup")],
        [reference(1, None, "val", "a cup")],
        [{**reference(1, 11, "val"), "sentences": 3}],
        [{**reference(1, 11, "val"), "sentences": [{"sent": "cup"}]}],
        [{**reference(1, 11, "val", "a cup"), "image_id": "seven"}],
    ],
)
@pytest.mark.parametrize("protocol", [2, None])
def test_references_of_another_form(protocol: int | None, refs: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="refcoco"):
        load_dataset("refcoco", save(tmp_path, "refcoco", refs, protocol=protocol))


@pytest.mark.parametrize(("meant", "image"), [(99, 7), (11, 99)])
def test_references_to_what_is_not_there(meant: int, image: int, tmp_path: Path) -> None:
    refs = [reference(1, meant, "val", "a cup", image=image)]
    data = load_dataset("refcoco", save(tmp_path, "refcoco", refs))
    with pytest.raises(DatasetError, match=r"instances\.json"):
        data[0]


def test_a_plain_list_of_sentences(tmp_path: Path) -> None:
    save(tmp_path, "annotations", [])
    (tmp_path / "annotations" / "instances.json").rename(tmp_path / "annotations" / "instances_val2017.json")
    rows = [{"image_id": 7, "ann_id": 11, "sentence": "A Cup"}]
    save_json(tmp_path / "annotations" / "referring_val2017.json", rows)
    save_photo(tmp_path / "val2017" / f"{7:012d}.jpg")
    sample = load_dataset("coco-referring", tmp_path)[0]
    assert (sample.expressions, sample.objects) == (("a cup",), ("11",))
    np.testing.assert_array_equal(sample.truth(), [union(LEFT)])
    assert sample.image == tmp_path / "val2017" / f"{7:012d}.jpg"


def test_tidied_expressions_are_stable() -> None:
    assert tidy(' The "Big/Red"\t CAR ') == "the bigred car"
    assert tidy(tidy("A / B")) == tidy("A / B")
