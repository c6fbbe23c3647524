"""Referring expressions on COCO images: RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO, and a plain JSON list."""

import os
import pickle
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from jaxtyping import Bool
from msgspec import Meta

from carlab.datasets.coco import decode, read_instances, regions_json
from carlab.datasets.layout import find_root, need, read_json, reading
from carlab.datasets.protocol import Dataset, Sample
from carlab.errors import DatasetError
from carlab.files.opening import MOST_JSON, read_file
from carlab.files.schema import Count, convert


class Sentence(msgspec.Struct):
    """A sentence as it was written."""

    raw: Annotated[str, Meta(max_length=10_000)]


class Reference(msgspec.Struct):
    """An object of an image by its annotation (in gRefCOCO several, -1 for none), and what is said of it."""

    image_id: Count
    ref_id: Count
    split: str
    ann_id: int | Annotated[list[int], Meta(max_length=1000)]
    sentences: Annotated[list[Sentence], Meta(max_length=10_000)]


class PlainRow(msgspec.Struct):
    """A sentence of a plain list."""

    image_id: Count
    ann_id: Count
    sentence: Annotated[str, Meta(max_length=10_000)]


class Expression(NamedTuple):
    """A sentence, the id of its image, the object it is said of, and the annotations that it refers to."""

    text: str
    image: int
    object: str
    annotations: tuple[int, ...]


_IMAGES = ("images/mscoco/images", "images", "coco")
"""Where `train2014` may be."""


class _Plain(pickle.Unpickler):
    """Read lists, dicts, texts and numbers only: a pickle may otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


def _unpickled(content: bytes) -> Iterator[Reference]:
    """Yield the references of a pickle.

    ValueError if it holds one list in several places: a few bytes could stand for billions of sentences.
    """
    seen: set[int] = set()
    for ref in _Plain(BytesIO(content), encoding="latin1").load():
        for part in (ref, ref["sentences"]):
            if id(part) in seen:
                raise ValueError("the same list twice")
            seen.add(id(part))
        yield convert(ref, Reference)


def _read_references(file: Path, what: str) -> list[Reference]:
    if file.suffix == ".json":
        return read_json(file, what, list[Reference])
    with reading(file, what):
        return list(_unpickled(read_file(file, MOST_JSON)))


def refer(root: Path, split: str, *, name: str, stem: str = "refs") -> Dataset:
    """Read `{name}/{stem}({by}).p` (or the same as .json) and `{name}/instances.json`; images in `train2014`.

    A split is "unc/val", "umd/test", ...: its author, and a part. All sentences about one image make one
    sample; they are the original ones (`raw`), which the released code uses. The sentences of a reference are
    those of one object. In gRefCOCO each sentence stands alone, and is left as it was written.
    """
    alone = name == "grefcoco"
    by, _, part = split.partition("/")
    home = find_root(root, ("refer/data", "data"), name) / name
    converted = home / f"{stem}({by}).json"
    file = converted if os.path.exists(converted) else home / f"{stem}({by}).p"
    expressions = [
        Expression(
            " ".join(sentence.raw.split()) if alone else tidy(sentence.raw),
            ref.image_id,
            f"{ref.ref_id}.{number}" if alone else str(ref.ref_id),
            _annotations(ref.ann_id),
        )
        for ref in _read_references(file, f"references made by {by} with sentences")
        if ref.split == part
        for number, sentence in enumerate(ref.sentences)
    ]
    near: list[str | Path] = [*_IMAGES, root.absolute(), *(root.absolute() / place for place in _IMAGES)]
    images = find_root(home.parent, near, "train2014") / "train2014"
    return _grouped(name, split, expressions, home / "instances.json", images)


def coco_referring(root: Path, split: str) -> Dataset:
    """Read `annotations/referring_{split}.json`: a list of `image_id`, `ann_id` and `sentence`."""
    home = find_root(root, ("coco",), "annotations")
    file = home / "annotations" / f"referring_{split}.json"
    expressions = [
        Expression(tidy(row.sentence), row.image_id, str(row.ann_id), (row.ann_id,))
        for row in read_json(file, "a list of image_id, ann_id and sentence", list[PlainRow])
    ]
    annotations = home / "annotations" / f"instances_{split}.json"
    return _grouped("coco-referring", split, expressions, annotations, home / split)


def _grouped(name: str, split: str, expressions: Sequence[Expression], file: Path, folder: Path) -> Dataset:
    """Return a data set with one sample per image: its expressions, and the union of the regions of each."""
    images, regions, _ = read_instances(file)
    by_image = defaultdict(list)
    for one in expressions:
        if one.text:
            by_image[str(one.image)].append(one)
    if not by_image:
        raise DatasetError(f"expected expressions of split {split!r} for {name}, got none; check --split")

    def find(identity: str) -> Sample:
        texts, _, objects, meant = zip(*by_image[identity], strict=True)
        image = images.get(int(identity))
        missing = [number for numbers in meant for number in numbers if number not in regions]
        if image is None or missing:
            raise DatasetError(
                f"expected image {identity} and its annotations in {file}, got no {missing or 'image'}; "
                "take the official file"
            )

        def masks(most: int | None) -> Bool[np.ndarray, "e h w"]:
            union = np.zeros((len(meant), image.height, image.width), dtype=bool)
            for row, numbers in enumerate(meant):
                for number in numbers[:most]:
                    union[row] |= decode(regions[number], image)
            return union

        path, several = need(folder / image.file, "an image"), any(len(numbers) > 1 for numbers in meant)
        return Sample(
            identity,
            path,
            partial(masks, None),
            texts,
            objects,
            partial(masks, 1) if several else None,  # as released: the first annotation alone
            sources=(regions_json([regions[number] for numbers in meant for number in numbers]),),
        )

    return Dataset(name, "referring", split, tuple(by_image), find)


def tidy(text: str) -> str:
    """Return a text in lower case, without quotes, slashes and repeated blanks, as the released code does."""
    return " ".join(text.lower().replace('"', "").replace("/", "").split())


def _annotations(value: int | Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of one annotation, or of the list that gRefCOCO gives, where -1 is none."""
    numbers = [value] if isinstance(value, int) else value
    return tuple(number for number in numbers if number >= 0)
