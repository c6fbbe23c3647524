"""A folder of one's own: photos, masks, and a file of names."""

from functools import partial
from pathlib import Path

from carlab.datasets.layout import need, parse_names, read_lines
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import labelled, one_based, semantic
from carlab.errors import DatasetError
from carlab.files.images import list_images

SPLITS = (".",)


def plain(root: Path, split: str) -> Dataset:
    """Read `images/`, `masks/*.png` with the same names, and `names.txt`.

    In a mask 0 is background, i the class of line i, 255 ignored. After a tab a line of names.txt may hold
    the words to ask for instead, and after another "stuff". A split is a sub-folder of both folders; "." is
    none.
    """
    names = parse_names(read_lines(root / "names.txt", "the class names, one a line"))
    if not 0 < len(names.classes) < 255 or len(set(names.classes)) < len(names.classes):
        raise DatasetError(
            f"expected 1 to 254 different names in {root / 'names.txt'}, got {len(names.classes)}; "
            "write one class a line"
        )
    photos = {path.stem: path for path in list_images([need(root / "images" / split, "a folder of photos")])}
    masks = need(root / "masks" / split, "a folder of masks")
    decode = partial(one_based, ignored=255, background=True)

    def find(identity: str) -> Sample:
        mask = masks / f"{identity}.png"
        return labelled(identity, photos[identity], mask, "a mask", decode, len(names.classes))

    return semantic("folder", split, sorted(photos), find, names, background=True)
