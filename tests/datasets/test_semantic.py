"""Readers of label maps, each on a tiny data set in the official layout."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco
from scipy.io import savemat

from carlab.datasets import DATASETS, IGNORE, load_dataset
from carlab.files.images import load_image
from tests.datasets.builders import (
    SIZE,
    annotation,
    instances,
    labels,
    polygon,
    run_lengths,
    save_json,
    save_labels,
    save_photo,
    save_text,
    voc,
)

TOP, LEFT = slice(0, 2), slice(0, 3)
ALL = slice(None)


def test_voc_keeps_the_order_of_its_list_and_ignores_borders(tmp_path: Path) -> None:
    masks = {"2007_9": labels((TOP, LEFT, 15), (2, ALL, 255)), "2007_1": labels((TOP, LEFT, 1))}
    data = load_dataset("voc21", voc(tmp_path, masks))
    assert data.ids == ("2007_9", "2007_1")
    assert data[0].image.name == "2007_9.jpg"
    assert data.classes[14] == "person"
    np.testing.assert_array_equal(data[0].truth(), labels((TOP, LEFT, 15), (2, ALL, IGNORE)))


def test_without_background_whatever_is_unlabelled_is_ignored(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels((TOP, LEFT, 15), (2, ALL, 255))})
    truth = load_dataset("voc20", root)[0].truth()
    assert set(np.unique(truth)) == {IGNORE, 15}
    assert (truth == 15).sum() == 6


def test_the_root_may_be_any_folder_above(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels()})
    for place in (root, root / "VOCdevkit", root / "VOCdevkit" / "VOC2012"):
        assert load_dataset("voc21", place).ids == ("a",)


def test_the_digest_is_of_what_is_run_and_asked(tmp_path: Path) -> None:
    data = load_dataset("voc21", voc(tmp_path, {"a": labels(), "b": labels()}))
    said = "\0".join(["voc21", "val", "False", "a", "b", "", *data.classes, "", *data.queries])
    assert data.digest() == sha256(said.encode()).hexdigest()
    save_text(tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "b", "a")
    assert load_dataset("voc21", tmp_path).digest() != data.digest()
    assert data.as_released().digest() != data.digest()


def test_coco_paints_crowds_first_and_the_smallest_last(tmp_path: Path) -> None:
    crowd, small = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    crowd[:, 5:], small[1:3, 1:3] = True, True
    packed = coco.encode(np.asfortranarray(small.astype(np.uint8)))
    rows = [
        annotation(1, 7, 5, {"size": packed["size"], "counts": packed["counts"].decode()}, 4),
        annotation(2, 7, 3, [polygon(slice(0, 4), slice(0, 6))], 24),
        annotation(3, 7, 1, run_lengths(crowd), 1, iscrowd=1),
        annotation(4, 8, 1, [], 0),
    ]
    save_json(tmp_path / "annotations" / "instances_val2017.json", instances(rows, images=(8, 7)))
    for number in (7, 8):
        save_photo(tmp_path / "val2017" / f"{number:012d}.jpg")
    data = load_dataset("coco-object", tmp_path)
    assert data.ids == ("7", "8")
    expected = labels((ALL, slice(5, 8), 1), (slice(0, 4), slice(0, 6), 2), (slice(1, 3), slice(1, 3), 3))
    np.testing.assert_array_equal(data[0].truth(), expected)
    np.testing.assert_array_equal(data[1].truth(), labels())


def test_coco_as_the_released_code_reads_it(tmp_path: Path) -> None:
    mask = tmp_path / "annotations" / "val2017" / "12_instanceTrainIds.png"
    save_labels(mask, labels((TOP, LEFT, 80), (5, 7, 255)))
    save_photo(tmp_path / "images" / "val2017" / "12.jpg")
    data = load_dataset("coco-object-png", tmp_path)
    assert (data.ids, data.classes[79]) == (("12",), "toothbrush")
    np.testing.assert_array_equal(data[0].truth(), labels((TOP, LEFT, 80), (5, 7, IGNORE)))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    home = tmp_path / "VOC2010"
    save_text(home / "ImageSets" / "SegmentationContext" / "val.txt", "a")
    save_photo(home / "JPEGImages" / "a.jpg")
    save_labels(home / "SegmentationClassContext" / "a.png", labels((TOP, LEFT, 59), (TOP, slice(3, 5), 1)))
    (home / "trainval").mkdir()
    every = labels((TOP, LEFT, 459), (4, ALL, 1)).astype(np.uint16)
    savemat(home / "trainval" / "a.mat", {"LabelMap": every})
    return tmp_path


def test_context_with_and_without_background(context: Path) -> None:
    with_it, without = (load_dataset(name, context)[0].truth() for name in ("context60", "context59"))
    assert set(np.unique(with_it)) == {0, 1, 59}
    np.testing.assert_array_equal(without, np.where(with_it == 0, IGNORE, with_it))


def test_all_459_classes_of_context(context: Path) -> None:
    data = load_dataset("context459", context)
    assert (data.classes[0], data.classes[458]) == ("accordion", "wool")
    every = labels((TOP, LEFT, 459), (4, ALL, 1))
    np.testing.assert_array_equal(data[0].truth(), np.where(every == 0, IGNORE, every))


def test_ade_counts_from_one_in_150_and_from_zero_in_847(tmp_path: Path) -> None:
    small, full = tmp_path / "ADEChallengeData2016", tmp_path / "ADE20K_2021_17_01"
    save_photo(small / "images" / "validation" / "x.jpg")
    save_labels(small / "annotations" / "validation" / "x.png", labels((TOP, LEFT, 150), (4, ALL, 1)))
    save_photo(full / "images_detectron2" / "validation" / "x.jpg")
    last = labels((TOP, LEFT, 846), (4, ALL, 65535))
    save_labels(full / "annotations_detectron2" / "validation" / "x.tif", last)
    first, second = load_dataset("ade150", tmp_path), load_dataset("ade847", tmp_path)
    assert (first.classes[149], second.classes[0]) == ("flag", "wall")
    expected = labels((TOP, LEFT, 150), (4, ALL, 1))
    np.testing.assert_array_equal(first[0].truth(), np.where(expected == 0, IGNORE, expected))
    np.testing.assert_array_equal(second[0].truth(), np.where(last == 65535, IGNORE, last + 1))


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    save_text(tmp_path / "names.txt", "cup\tcoffee cup", "table\t\tstuff", "", "猫")
    save_photo(tmp_path / "images" / "two.png")
    save_photo(tmp_path / "images" / "one.jpg")
    for name in ("one", "two"):
        save_labels(tmp_path / "masks" / f"{name}.png", labels((TOP, LEFT, 3), (5, ALL, 255)))
    data = load_dataset("folder", tmp_path)
    assert (data.ids, data.classes) == (("one", "two"), ("cup", "table", "猫"))
    assert data.queries == data.as_released().queries == ("coffee cup", "table", "猫")
    assert [part.classes for part in data.passes] == [(0, 2), (1,)]
    assert data.passes[1].background == ("coffee cup", "猫")
    np.testing.assert_array_equal(data[1].truth(), labels((TOP, LEFT, 3), (5, ALL, IGNORE)))


REAL = [
    ("voc21", None, 80), ("voc20", "train", 80), ("coco-object", None, 80), ("ade150", None, 3),
    ("coco-referring", None, 35), ("davis16", "all", 36),
]  # fmt: skip


@pytest.mark.parametrize(("name", "split", "count"), REAL)
def test_real_photos_and_masks_are_of_one_size(
    name: str, split: str | None, count: int, shared: Path
) -> None:
    data = load_dataset(name, shared / "data", split)
    assert len(data) == count
    for sample in list(data)[:12]:
        truth = sample.truth()
        assert truth.shape[-2:] == load_image(sample.image).shape[:2]
        assert truth.any()
        assert data.kind != "semantic" or truth.max() <= len(data.classes)


def test_every_reader_is_tested_here_or_beside() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert not [name for name in DATASETS if f'"{name}"' not in text]
