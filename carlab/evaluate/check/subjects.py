"""What a model is checked on: images that scikit-image ships, with captions, queries and drawn regions."""

from dataclasses import dataclass
from importlib.resources import as_file, files

from skimage.draw import polygon2mask

from carlab.data import lines
from carlab.files.images import load_image
from carlab.files.shapes import Image, Mask

DISTRACTORS = tuple(
    f"a photo of a {thing}"
    for thing in ("dog", "banana", "sofa", "sailing boat", "laptop", "mountain lake", "pizza", "train")
)
"""Captions of none of the images."""
SYNONYMS = (
    *(("cat", "kitten"), ("motorcycle", "motorbike"), ("cup of coffee", "mug of espresso")),
    *(("horse", "pony"), ("rocket", "missile"), ("sofa", "couch"), ("car", "motor vehicle")),
    *(("ship", "boat"), ("dog", "puppy"), ("forest", "woodland"), ("person", "human being")),
    ("television", "TV set"),
)
"""Two names of one thing that have no word in common: what joins them was learned, not spelled."""


@dataclass(frozen=True)
class Subject:
    """An image with its caption.

    Parameters
    ----------
    file
        Its name in the package scikit-image.
    caption
        What is in it, and in none of the others.
    query
        The object that has a region; "" where none was drawn.
    corners
        Of the region: x and y in percent of the sides.
    """

    file: str
    caption: str
    query: str = ""
    corners: tuple[tuple[float, float], ...] = ()

    def image(self) -> Image:
        """Read the image from the installed package: never a download. ImageError if it is not there."""
        with as_file(files("skimage") / "data" / self.file) as path:
            return load_image(path)

    def region(self, rows: int, columns: int) -> Mask:
        """Return the region at a size in pixels."""
        return polygon2mask((rows, columns), [(y * rows / 100, x * columns / 100) for x, y in self.corners])


def _subject(line: str) -> Subject:
    file, caption, *rest = (part.strip() for part in line.split("|"))
    if not rest:
        return Subject(file, caption)
    corners = [tuple(map(float, corner.split(","))) for corner in rest[1].split()]
    return Subject(file, caption, rest[0], tuple((x, y) for x, y in corners))


SUBJECTS = tuple(_subject(line) for line in lines("check_images.txt") if not line.startswith("#"))
"""Those with a region come first."""
