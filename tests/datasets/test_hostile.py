"""Whatever is wrong with a data set is one DatasetError that names the file; nothing else comes out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from carlab.datasets import DATASETS, load_dataset
from carlab.errors import DatasetError
from carlab.evaluate.scoring import score
from tests.datasets.builders import (
    SIZE,
    annotation,
    instances,
    labels,
    run_lengths,
    save_json,
    save_labels,
    save_photo,
    save_text,
    voc,
)
from tests.hostile.strings import HOSTILE
from tests.traces import make_trace

HOME = Path("VOCdevkit") / "VOC2012"
MASK, PHOTO = HOME / "SegmentationClass" / "a.png", HOME / "JPEGImages" / "a.jpg"
LIST = HOME / "ImageSets" / "Segmentation" / "val.txt"


def read_all(name: str, root: Path) -> list[Any]:
    return [sample.truth() for sample in load_dataset(name, root)]


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def in_colour(path: Path) -> None:
    Image.new("RGB", SIZE[::-1]).save(path)


def of_another_data_set(path: Path) -> None:
    save_labels(path, labels((0, 0, 21)))


DAMAGE: list[tuple[Path, Callable[[Path], Any]]] = [
    (MASK, truncate),
    (MASK, in_colour),
    (MASK, of_another_data_set),
    (MASK, Path.unlink),
    (MASK, lambda path: path.write_bytes(b"")),
    (PHOTO, Path.unlink),
    (LIST, Path.unlink),
    (LIST, lambda path: path.write_text("a\na\n")),
    (LIST, lambda path: path.write_text("\n")),
    (LIST, lambda path: save_text(path, "a", "absent")),
]


@pytest.mark.parametrize(("place", "damage"), DAMAGE)
def test_one_error_names_the_file(place: Path, damage: Callable[[Path], Any], tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels((slice(0, 2), 0, 3))})
    damage(root / place)
    with pytest.raises(DatasetError, match="^expected .*, got .*; ") as caught:
        read_all("voc21", root)
    assert any(word in str(caught.value) for word in (place.name, "absent", "voc21 val"))


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_root_says_what_was_looked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--root"):
        load_dataset(name, tmp_path)
    with pytest.raises(DatasetError, match="--root"):
        load_dataset(name, tmp_path / "absent")


def test_unknown_names_and_splits(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="voc20"):
        load_dataset("imagenet", tmp_path)
    with pytest.raises(DatasetError, match=r"test\.txt"):
        load_dataset("voc21", voc(tmp_path, {"a": labels()}), "test")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"images": 3, "annotations": [], "categories": []}',
        '{"images": [{"id": 1}], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [{"id": 1, "area": "x"}], "categories": []}',
        '{"images": [], "annotations": [], "categories": [{"id": "x"}]}',
        '{"images": [], "annotations": [], "categories": [{"id": 1e999}]}',
    ],
)
def test_instances_of_another_form(content: str, tmp_path: Path) -> None:
    save_text(tmp_path / "annotations" / "instances_val2017.json", content)
    with pytest.raises(DatasetError, match=r"instances_val2017\.json"):
        load_dataset("coco-object", tmp_path)


OUTLINES = [
    [[1, 2]],
    [[]],
    ["text"],
    [None],
    [[1, 2, 3, 4]],
    [["a"] * 6],
    {"size": list(SIZE)},
    {"size": list(SIZE), "counts": [5, 5]},
    {"size": list(SIZE), "counts": [5, -5]},
    {"size": [3, 4], "counts": [12]},
    {"size": "ab", "counts": "11"},
    {"counts": "11"},
    3,
    None,
]


@pytest.mark.parametrize("outline", OUTLINES)
def test_outlines_that_are_none(outline: Any, tmp_path: Path) -> None:
    rows = [annotation(41, 7, 1, outline, 3)]
    save_json(tmp_path / "annotations" / "instances_val2017.json", instances(rows))
    save_photo(tmp_path / "val2017" / f"{7:012d}.jpg")
    data = load_dataset("coco-object", tmp_path)
    with pytest.raises(DatasetError, match="annotation 41"):
        data[0].truth()


def test_a_region_of_no_category(tmp_path: Path) -> None:
    rows = [annotation(41, 7, 2, run_lengths(np.ones(SIZE, bool)), 3)]  # the ids of builders are odd
    save_json(tmp_path / "annotations" / "instances_val2017.json", instances(rows))
    save_photo(tmp_path / "val2017" / f"{7:012d}.jpg")
    with pytest.raises(DatasetError, match="annotation 41"):
        load_dataset("coco-object", tmp_path)[0].truth()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "area", "images", "x"]), inner),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images=JSON, rows=JSON, categories=JSON)
def test_any_json_is_read_or_refused(images: Any, rows: Any, categories: Any, tmp_path: Path) -> None:
    content = {"images": images, "annotations": rows, "categories": categories}
    save_text(tmp_path / "annotations" / "instances_val2017.json", json.dumps(content))
    try:
        found = load_dataset("coco-object", tmp_path)
    except DatasetError as error:
        message = str(error)
        assert message.startswith("expected") and "\n" not in message
    else:
        assert len(found) == len(images) > 0


def test_a_truth_of_another_size_than_its_photo(tmp_path: Path) -> None:
    data = load_dataset("voc21", voc(tmp_path, {"a": labels(size=(9, 9))}))
    trace = make_trace(data.queries, kept=((0,),), size=(48, 70))
    with pytest.raises(DatasetError, match="48, 70"):
        score(data, data[0], [trace])


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    names = [name for name in HOSTILE if name == name.strip() and len(name) < 100]
    save_text(tmp_path / "names.txt", *names)
    save_photo(tmp_path / "images" / "a b; $(id).png")
    save_labels(tmp_path / "masks" / "a b; $(id).png", labels((0, 0, len(names))))
    data = load_dataset("folder", tmp_path)
    assert data.classes == tuple(names)
    assert data[0].truth().max() == len(names)


@pytest.mark.parametrize("lines", [("cat", "cat"), tuple(f"c{n}" for n in range(255))])
def test_names_that_a_mask_cannot_tell_apart(lines: tuple[str, ...], tmp_path: Path) -> None:
    save_text(tmp_path / "names.txt", *lines)
    with pytest.raises(DatasetError, match=r"names\.txt"):
        load_dataset("folder", tmp_path)


def no_matlab_file(path: Path) -> None:
    save_text(path, "MATLAB 5.0 MAT-file" + "x" * 300)


def no_label_map(path: Path) -> None:
    savemat(path, {"Labels": labels()})


def label_460(path: Path) -> None:
    savemat(path, {"LabelMap": labels((0, 0, 460))})


@pytest.mark.parametrize("save", [no_matlab_file, no_label_map, label_460])
def test_a_damaged_matlab_file(save: Callable[[Path], None], tmp_path: Path) -> None:
    home = tmp_path / "VOC2010"
    save_text(home / "ImageSets" / "SegmentationContext" / "val.txt", "a")
    save_photo(home / "JPEGImages" / "a.jpg")
    (home / "trainval").mkdir()
    save(home / "trainval" / "a.mat")
    with pytest.raises(DatasetError, match=r"a\.mat"):
        load_dataset("context459", tmp_path)[0].truth()
