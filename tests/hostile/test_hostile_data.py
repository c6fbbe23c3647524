"""Data sets that somebody made to break a reader: one DatasetError, in little memory and time."""

import json
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco
from scipy.io import savemat

from carlab.datasets import load_dataset
from carlab.datasets.coco import CocoImage, Region, decode
from carlab.errors import DatasetError, RunError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.run import check_unchanged
from carlab.files.schema import parse
from tests.datasets.builders import (
    SIZE,
    annotation,
    instances,
    labels,
    save_json,
    save_labels,
    save_photo,
    save_text,
    voc,
)
from tests.hostile.bounded import refused
from tests.hostile.test_hostile_images import png
from tests.torture.targets import attempt, refs, seed_run

MASK = Path("VOCdevkit/VOC2012/SegmentationClass/a.png")
LIST = Path("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt")


def complaint(name: str, root: Path, split: str | None = None) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, root, split)[0].truth()
    message = str(caught.value)
    assert message.startswith("expected") and message.isprintable() and len(message) <= 300
    return message


# Special files, names, lists


@pytest.mark.parametrize("place", [MASK, LIST])
def test_special_files_do_not_hang(place: Path, tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels()})
    (root / place).unlink()
    os.mkfifo(root / place)
    assert "(a special" in complaint("voc21", root)
    (root / place).unlink()
    (root / place).symlink_to("/dev/zero")
    assert "(a special" in complaint("voc21", root)


def test_a_list_that_windows_wrote(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels()})
    (root / LIST).write_bytes(b"\xef\xbb\xbfa\r\n")
    assert load_dataset("voc21", root).ids == ("a",)


def test_annotations_that_windows_wrote(tmp_path: Path) -> None:
    file = save_json(tmp_path / "annotations" / "instances_val2017.json", instances([]))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_dataset("coco-object", tmp_path).ids == ("7",)


@pytest.mark.parametrize("split", ["x" * 300, "a\0b", "x/" * 5000])
def test_a_name_that_no_disk_can_have_is_said(split: str, tmp_path: Path) -> None:
    for name in ("voc21", "coco-object", "ade150", "davis16", "folder", "refcoco", "context459"):
        for folder in (
            "SegmentationClass",
            "annotations",
            "JPEGImages/480p",
            "images",
            "refcoco",
            "trainval",
        ):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        save_text(tmp_path / "names.txt", "cat")
        with pytest.raises(DatasetError):
            load_dataset(name, tmp_path, split)


def test_a_photo_whose_name_is_no_text(tmp_path: Path) -> None:
    save_text(tmp_path / "names.txt", "cat")
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.new("L", (4, 4)).save(os.fsencode(tmp_path / folder) + b"/\xff.png")
    with pytest.raises(DatasetError, match="UTF-8"):
        load_dataset("folder", tmp_path)


# Masks


def test_a_mask_of_81_megapixels(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels()})
    (root / MASK).write_bytes(png(9000, 9000, bits=1))
    assert (root / MASK).stat().st_size < 50_000
    assert "megapixels" in complaint("voc21", root)


@pytest.mark.parametrize("mode", ["LA", "PA", "F", "RGB"])
def test_masks_that_are_no_numbers(mode: str, tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels()})
    (root / MASK).unlink()
    image = Image.new("RGB", SIZE[::-1]) if mode == "RGB" else Image.new("L", SIZE[::-1]).convert(mode)
    image.save(root / MASK, "TIFF")
    assert f"mode {mode}" in complaint("voc21", root)


def test_negative_labels_are_not_ignored_pixels(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels()})
    Image.fromarray(np.full(SIZE, -1, np.int32)).save(root / MASK, "TIFF")
    assert "no whole numbers" in complaint("voc21", root)


def context(root: Path) -> Path:
    home = root / "VOC2010"
    save_text(home / "ImageSets" / "SegmentationContext" / "val.txt", "a")
    save_photo(home / "JPEGImages" / "a.jpg")
    (home / "trainval").mkdir()
    return home / "trainval" / "a.mat"


@pytest.mark.parametrize(
    "value",
    [
        np.full(SIZE, 0.5),
        np.full(SIZE, np.nan),
        np.full(SIZE, -1),
        np.zeros((2, *SIZE)),
        "text",
        {"a": 1},
        np.array([1, "a"], dtype=object),
    ],
    ids=["half", "nan", "negative", "deep", "text", "struct", "cell"],
)
def test_a_matlab_file_of_another_kind(value: Any, tmp_path: Path) -> None:
    savemat(context(tmp_path), {"LabelMap": value})
    complaint("context459", tmp_path)


def test_a_matlab_file_of_144_megapixels(tmp_path: Path) -> None:
    savemat(context(tmp_path), {"LabelMap": np.zeros((12_000, 12_000), np.uint8)}, do_compression=True)
    call = f"load_dataset('context459', {str(tmp_path)!r})[0].truth()"
    assert "12000" in refused(
        "import scipy.io\nfrom carlab.datasets import load_dataset", call, megabytes=250
    )


def test_a_part_of_a_matlab_file_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(64)) + packer.flush()
    file = context(tmp_path)
    savemat(file, {"LabelMap": np.zeros(SIZE)})
    file.write_bytes(file.read_bytes()[:128] + struct.pack("<II", 15, len(packed)) + packed)
    call = f"load_dataset('context459', {str(tmp_path)!r})[0].truth()"
    message = refused("from carlab.datasets import load_dataset", call, megabytes=700)
    assert "more than the largest" in message


# Run lengths and polygons


def region(outline: Any) -> Region:
    return parse(json.dumps(annotation(41, 7, 1, outline, 3)), Region)


def image(height: int, width: int) -> CocoImage:
    return CocoImage(7, "a.jpg", height, width)


@settings(max_examples=60)
@given(st.data())
def test_run_lengths_are_read_as_pycocotools_does(data: st.DataObject) -> None:
    """Its own text of them, and its own decoder as the truth."""
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    bits = data.draw(st.binary(min_size=height * width, max_size=height * width))
    runs = data.draw(st.integers(1, 9))
    mask = np.repeat(np.frombuffer(bits, np.uint8) > 127, runs)[: height * width].reshape(height, width)
    coded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    outline = {"size": [height, width], "counts": coded["counts"].decode()}
    np.testing.assert_array_equal(decode(region(outline), image(height, width)), mask)
    np.testing.assert_array_equal(coco.decode(coded), mask)


BROKEN: list[Any] = [
    {"size": [6, 8], "counts": "0" * 100_000},
    {"size": [6, 8], "counts": "o" * 40},
    {"size": [6, 8], "counts": "\x00"},
    {"size": [6, 8], "counts": "PPPPP"},
    {"size": [2**40, 2**40], "counts": "11"},
    {"size": [6, 8], "counts": [2**62, 2**62]},
    {"size": [6, 8], "counts": [48.5]},
    {"size": [6, 8], "counts": "猫"},
    [[1e9, 1, 2, 1e9, 3, 3]],
    [[1, 1, 2, 2, 3, 3, 4]],
    [[0, 0, 1e300, 1, 1, 1]],
    [["1", 1, 2, 2, 3, 3]],
]


@pytest.mark.parametrize("outline", BROKEN, ids=lambda value: str(value)[:40])
def test_outlines_that_end_the_process_elsewhere(outline: Any) -> None:
    with pytest.raises(DatasetError, match="annotation 41"):
        decode(region(outline), image(6, 8))


def test_an_image_that_claims_a_terapixel(tmp_path: Path) -> None:
    content = instances([])
    content["images"][0] |= {"height": 10**6, "width": 10**6}
    save_json(tmp_path / "annotations" / "instances_val2017.json", content)
    assert "pixels" in complaint("coco-object", tmp_path)


# References


def save_refs(root: Path, content: bytes) -> Path:
    home = root / "data" / "refcoco"
    home.mkdir(parents=True)
    save_photo(root / "train2014" / f"{7:012d}.jpg")
    rows = [annotation(n, 7, 1, [[1, 1, 3, 1, 3, 3]], 3) for n in (1, 2)]
    save_json(home / "instances.json", instances(rows))
    (home / "refs(unc).p").write_bytes(content)
    return root


@pytest.mark.parametrize("protocol", range(5))
def test_references_of_any_protocol(protocol: int, tmp_path: Path) -> None:
    root = save_refs(tmp_path, pickle.dumps(refs(), protocol))
    (sample,) = [data.find(one) for data in [load_dataset("refcoco", root, "unc/val")] for one in data.ids]
    assert sample.expressions == ("left cat", "left cat")
    assert sample.truth().sum() > 0


def laughing() -> bytes:
    """A thousand references to one, with a thousand times one sentence."""
    one = refs()[0]
    one["sentences"] = 1000 * one["sentences"]
    return pickle.dumps(1000 * [one])


def shared_sentences() -> bytes:
    """References of their own that share a list of sentences."""
    sentences = 10_000 * refs()[0]["sentences"]
    return pickle.dumps([{**refs()[0], "sentences": sentences} for _ in range(10_000)])


def one_long_text() -> bytes:
    """A pickle of a few bytes that claims 4 GB."""
    return b"\x80\x04B" + struct.pack("<I", 2**32 - 1) + b"abc"


def one_longer_text() -> bytes:
    return b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc"


@pytest.mark.parametrize("make", [laughing, shared_sentences, one_long_text, one_longer_text])
def test_pickles_that_grow(make: Any, tmp_path: Path) -> None:
    root = save_refs(tmp_path, make())
    call = f"load_dataset('refcoco', {str(root)!r}, 'unc/val')"
    refused("from carlab.datasets import load_dataset", call, megabytes=200, seconds=120)


@pytest.mark.parametrize("number", range(40))
def test_damage_at_random(number: int, tmp_path: Path) -> None:
    attempt("refs", number, tmp_path)


# Data that changes


def test_data_that_changed_is_refused(tmp_path: Path) -> None:
    """The record holds the digest of image and truth; records of earlier versions have none."""
    root = voc(tmp_path, {"a": labels((0, 0, 3)), "b": labels()})
    data = load_dataset("voc21", root)
    run = RunFolder.read(seed_run(tmp_path / "run", "semantic"))
    records = [{"id": name, "digest": data.find(name).digest()} for name in data.ids]
    check_unchanged(data, run, [*records, {"id": "a"}])
    save_labels(root / MASK, labels((0, 0, 4)))
    with pytest.raises(RunError, match="another image or truth of 'a'"):
        check_unchanged(data, run, records)
    check_unchanged(data, run, records[1:])
