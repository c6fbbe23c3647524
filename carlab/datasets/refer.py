"""Referring expressions on COCO images: RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO, and a plain JSON list."""

import json
import pickle
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from carlab.datasets.coco import decode, read_instances
from carlab.datasets.layout import find_root, need, reading
from carlab.datasets.protocol import Dataset, Sample
from carlab.errors import DatasetError


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
    file = converted if converted.exists() else home / f"{stem}({by}).p"
    with reading(file, f"references made by {by} with sentences"), file.open("rb") as stream:
        refs = json.load(stream) if file == converted else _Plain(stream, encoding="latin1").load()
        expressions = [
            Expression(
                " ".join(str(sentence["raw"]).split()) if alone else tidy(sentence["raw"]),
                int(ref["image_id"]),
                f"{int(ref['ref_id'])}.{number}" if alone else str(int(ref["ref_id"])),
                _annotations(ref["ann_id"]),
            )
            for ref in refs
            if ref["split"] == part
            for number, sentence in enumerate(ref["sentences"])
        ]
    near: list[str | Path] = [*_IMAGES, root.absolute(), *(root.absolute() / place for place in _IMAGES)]
    images = find_root(home.parent, near, "train2014") / "train2014"
    return _grouped(name, split, expressions, home / "instances.json", images)


def coco_referring(root: Path, split: str) -> Dataset:
    """Read `annotations/referring_{split}.json`: a list of `image_id`, `ann_id` and `sentence`."""
    home = find_root(root, ("coco",), "annotations")
    file = home / "annotations" / f"referring_{split}.json"
    with reading(file, "a list of image_id, ann_id and sentence"):
        expressions = [
            Expression(
                tidy(row["sentence"]), int(row["image_id"]), str(int(row["ann_id"])), (int(row["ann_id"]),)
            )
            for row in json.loads(file.read_text(encoding="utf-8"))
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
        )

    return Dataset(name, "referring", split, tuple(by_image), find)


def tidy(text: Any) -> str:
    """Return a text in lower case, without quotes, slashes and repeated blanks, as the released code does."""
    return " ".join(str(text).lower().replace('"', "").replace("/", "").split())


def _annotations(value: Any) -> tuple[int, ...]:
    """Return the numbers of one annotation, or of the list that gRefCOCO gives, where -1 is none."""
    numbers = value if isinstance(value, list) else [value]
    return tuple(int(number) for number in numbers if int(number) >= 0)
