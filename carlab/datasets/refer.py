"""Referring expressions on COCO photos: RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO, and a plain JSON list."""

import io
import pickle
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from carlab.datasets.coco import Photo, Region, instances, mask
from carlab.datasets.layout import damaged, find_root, need, read_json
from carlab.datasets.protocol import Dataset, Sample
from carlab.errors import DatasetError

STEMS = {"refcoco": "refs", "refcoco+": "refs", "refcocog": "refs", "grefcoco": "grefs"}
"""What the files of references are called."""
PHOTOS = ("images/mscoco/images", "images", "coco")
"""Where `train2014` may be."""
SPLITS = {
    "refcoco": ("unc/val", "unc/testA", "unc/testB", "google/val"),
    "refcoco+": ("unc/val", "unc/testA", "unc/testB"),
    "refcocog": ("umd/val", "umd/test", "google/val"),
    "grefcoco": ("unc/val", "unc/testA", "unc/testB"),
    "coco-referring": ("val2017",),
}


class _Plain(pickle.Unpickler):
    """Lists, dicts, texts and numbers only: a pickle may otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


@dataclass(frozen=True)
class Expression:
    """A sentence, the photo it is about, and the annotations it means: none, one or several."""

    text: str
    image: int
    annotations: tuple[int, ...]

    @property
    def object(self) -> str:
        """The object, or group of objects, meant."""
        return "+".join(map(str, self.annotations))


def refer(name: str, root: Path, split: str) -> Dataset:
    """Read `{name}/refs({by}).p` (or the same as .json) and `{name}/instances.json`; photos in `train2014`.

    A split is "unc/val", "umd/test", ...: who made it, and which part. All sentences about one photo make
    one sample, worded as people wrote them (`raw`), which is what the released code asks.
    """
    by, _, part = split.partition("/")
    home = find_root(root, ("refer/data", "data"), name) / name
    refs = read_refs(home, STEMS[name], by)
    try:
        expressions = [
            Expression(tidy(sentence["raw"]), int(ref["image_id"]), _annotations(ref["ann_id"]))
            for ref in refs
            if ref["split"] == part
            for sentence in ref["sentences"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"expected references with sentences in {home}, got others ({error!r}); take the official file"
        ) from error
    near: list[str | Path] = [*PHOTOS, root.absolute(), *(root.absolute() / place for place in PHOTOS)]
    photos = find_root(home.parent, near, "train2014") / "train2014"
    return referring(name, split, expressions, home / "instances.json", photos)


def coco_referring(root: Path, split: str) -> Dataset:
    """Read `annotations/referring_{split}.json`: a list of `image_id`, `ann_id` and `sentence`."""
    home = find_root(root, ("coco",), "annotations")
    file = home / "annotations" / f"referring_{split}.json"
    try:
        expressions = [
            Expression(tidy(row["sentence"]), int(row["image_id"]), (int(row["ann_id"]),))
            for row in read_json(file, "a list of sentences")
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(file, "a list of image_id, ann_id and sentence", error) from error
    annotations = home / "annotations" / f"instances_{split}.json"
    return referring("coco-referring", split, expressions, annotations, home / split)


def referring(name: str, split: str, expressions: Sequence[Expression], file: Path, photos: Path) -> Dataset:
    """A data set of the expressions about each photo."""
    known, regions, _ = instances(file)
    about: dict[str, list[Expression]] = defaultdict(list)
    for expression in expressions:
        if expression.text:
            about[str(expression.image)].append(expression)
    if not about:
        raise DatasetError(f"expected expressions of split {split!r} for {name}, got none; check --split")

    def find(identity: str) -> Sample:
        mine = about[identity]
        photo = known.get(mine[0].image)
        missing = [number for one in mine for number in one.annotations if number not in regions]
        if photo is None or missing:
            raise DatasetError(
                f"expected image {identity} and its annotations in {file}, got no {missing or 'image'}; "
                "take the official file"
            )
        return Sample(
            identity, need(photos / photo.file, "a photo"), lambda: truth(mine, regions, photo),
            tuple(one.text for one in mine), tuple(one.object for one in mine),
        )  # fmt: skip

    return Dataset(name, "referring", split, tuple(about), find)


def truth(
    expressions: Sequence[Expression], regions: Mapping[int, Region], photo: Photo
) -> Bool[np.ndarray, "e h w"]:
    """The union of what each expression means; empty where it means nothing."""
    masks = np.zeros((len(expressions), photo.height, photo.width), dtype=bool)
    for row, expression in enumerate(expressions):
        for number in expression.annotations:
            masks[row] |= mask(regions[number], photo)
    return masks


def read_refs(home: Path, stem: str, by: str) -> list[Any]:
    """References from a pickle of plain data, or from the same as JSON.

    Raises
    ------
    DatasetError
        If neither is there, or the pickle holds anything but plain data.
    """
    converted, file = home / f"{stem}({by}).json", home / f"{stem}({by}).p"
    if converted.exists():
        return list(read_json(converted, "references"))
    try:
        content = need(file, f"references made by {by}").read_bytes()
        return list(_Plain(io.BytesIO(content), encoding="latin1").load())
    except DatasetError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise damaged(file, "a pickle of plain lists and dicts", error) from error


def tidy(text: Any) -> str:
    """An expression without capitals, quotes, slashes and needless blanks, as the released code asks it.

    What is left apart only by them would be one query.
    """
    return " ".join(str(text).lower().replace('"', "").replace("/", "").split())


def _annotations(value: Any) -> tuple[int, ...]:
    """GRefCOCO gives lists, where -1 stands for none."""
    numbers = value if isinstance(value, list) else [value]
    return tuple(int(number) for number in numbers if int(number) >= 0)
