"""A user's own folder: images, masks, and a file of names."""

from pathlib import Path

from carlab.datasets.layout import need, parse_names, read_lines, reading
from carlab.datasets.protocol import Dataset
from carlab.datasets.semantic import labelled
from carlab.errors import DatasetError
from carlab.files.images import list_images


def own_folder(root: Path, split: str) -> Dataset:
    """Read `images/`, `masks/*.png` with the same names, and `names.txt`.

    In a mask 0 is background, i the class of line i, 255 ignored. After a tab a line of names.txt may hold
    the query of its class, and after another "stuff". A split is a sub-folder of both folders; "." is none.
    """
    names = parse_names(read_lines(root / "names.txt", "the class names, one a line"))
    if not 0 < len(names.classes) < 255 or len(set(names.classes)) < len(names.classes):
        raise DatasetError(
            f"expected 1 to 254 different names in {root / 'names.txt'}, got {len(names.classes)}; "
            "write one class a line"
        )
    folder = root / "images" / split
    with reading(folder, "a folder of images"):
        images = {path.stem: path for path in list_images([folder])}
    masks = need(root / "masks" / split, "a folder of masks")
    samples = [(stem, path, masks / f"{stem}.png") for stem, path in sorted(images.items())]
    return labelled("folder", split, samples, names, background=True)
