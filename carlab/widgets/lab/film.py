"""The images of a Lab: one, those of a folder, and those that were dropped into it."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carlab.errors import ImageError
from carlab.figures.content import picture
from carlab.files.images import list_images, load_image
from carlab.files.pictures import shrink
from carlab.trace.show import shorten

THUMB_SIDE = 128
"""Longest side of a thumbnail, in pixels."""
MOST_THUMBS = 200
"""Images of a folder that are shown; at 5 kB each they are a megabyte."""
SENT_TOGETHER = 12
SAMPLE = "astronaut"
"""Of scikit-image: what a Lab without an image opens with."""


@dataclass
class Film:
    """Sources of images, in the order of the strip; a thumbnail is made of each in a thread of its own.

    Parameters
    ----------
    sources, names
        As `carlab.segment` takes images, and what the strip calls them.
    left_out
        Images of the folder beyond the most that are shown.
    """

    sources: list[Any]
    names: list[str]
    left_out: int = 0
    thumbs: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, image: Any) -> "Film":
        """Return the images of a folder, or one image; None: a sample.

        Raises ImageError if a folder holds no image.
        """
        if image is None:
            from skimage import data

            return cls([getattr(data, SAMPLE)()], [SAMPLE])
        if isinstance(image, str | os.PathLike) and os.path.isdir(image):
            paths = list_images([image])
            shown = paths[:MOST_THUMBS]
            return cls(list(shown), [path.name for path in shown], len(paths) - len(shown))
        return cls([image], [Path(image).name if isinstance(image, str | os.PathLike) else "image"])

    def add(self, source: Any, name: str) -> int:
        """Add an image, and return its index."""
        self.sources.append(source)
        self.names.append(name)
        return len(self.sources) - 1

    def content(self) -> list[dict[str, Any]]:
        """Return the strip as the front end takes it."""
        return [
            {"name": shorten(name), **({"thumb": self.thumbs[k]} if k in self.thumbs else {})}
            for k, name in enumerate(self.names)
        ]

    def draw(self, show: Callable[[Sequence[dict[str, Any]]], None]) -> None:
        """Make the thumbnails that are missing, and show them some at a time; a single image needs none."""
        missing = [k for k in range(len(self.sources)) if k not in self.thumbs]
        if len(self.sources) > 1:
            threading.Thread(target=self._draw, args=(missing, show), daemon=True, name="carlab-film").start()

    def _draw(self, missing: Sequence[int], show: Callable[[Sequence[dict[str, Any]]], None]) -> None:
        for start in range(0, len(missing), SENT_TOGETHER):
            for k in missing[start : start + SENT_TOGETHER]:
                try:
                    self.thumbs[k] = picture(shrink(load_image(self.sources[k]), THUMB_SIDE))
                except ImageError:
                    continue  # its name stays; who chooses it is told why
            show(self.content())
