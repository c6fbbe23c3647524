"""v, the visual prompter: draw a region onto the image, so that the classifier attends to it.

Each prompt is a frozen dataclass called with an image and one region; prompts add up: `Circle() + Blur()`.
When combined they are drawn in a fixed order, whatever the order they were added in: first what fades the
outside (blur, grey, black), then outlines (ellipse, rectangle, contour), a crop last (paper, section 3.2).

The released code draws with OpenCV. Its rasterised ellipse and fixed-point blur differ by single pixels and
grey levels from any other library's, which is enough to move a score in the sixth digit; the `reference`
presets therefore set `engine="opencv"` (extra `opencv`), and nothing else does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from carlab.errors import SettingError
from carlab.files.shapes import Image, Mask

Colour = tuple[int, int, int]
DrawEngine = Literal["skimage", "opencv"]
RED: Colour = (255, 0, 0)


@dataclass(frozen=True)
class Prompt:
    """Base of all prompts; a prompt of one's own overrides `draw`.

    >>> @dataclass(frozen=True)
    ... class Dim(Prompt):
    ...     def draw(self, image, region):
    ...         return np.where(region[..., None], image, image // 4)
    >>> Dim()(np.full((1, 2, 3), 200, np.uint8), np.array([[True, False]]))[..., 0]
    array([[200,  50]], dtype=uint8)
    """

    rank: ClassVar[int] = 0
    """Place in the order of combined prompts, low first."""
    released: ClassVar[dict[str, Any]] = {}
    """Fields that make it draw as the released code does."""

    def __call__(self, image: Image, region: Mask) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the prompted image; an empty region leaves it unchanged. Only a crop changes its size.

        Parameters
        ----------
        image
            RGB; it is not drawn on itself.
        region
            True inside.
        """
        return self.on(image)(region)

    def on(self, image: Image) -> "Drawing":
        """Return a function that draws any region on this image; see `carlab.stages.base.VisualPrompter`."""
        rest: list[Any] = list(self.prompts)
        outside = image
        while rest and isinstance(rest[0], Fade):
            outside = rest.pop(0).faded(outside)
        return Drawing(image, outside, tuple(rest))

    def draw(self, image: Image, region: Mask) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Draw a region that is not empty."""
        raise NotImplementedError

    def __add__(self, other: "Prompt") -> "Combined":
        return Combined((*self.prompts, *other.prompts))

    @property
    def prompts(self) -> tuple["Prompt", ...]:
        """The single prompts that this one is made of, in the order in which they are drawn."""
        return (self,)

    def as_released(self) -> "Prompt":
        """Return the prompt with the drawing of the released code (quirk 7, and the engine)."""
        return replace(self, **self.released)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A prompt on one image: what does not depend on the region is computed once.

    Parameters
    ----------
    image
        RGB.
    outside
        The image as it looks outside every region; `image` itself if nothing fades there.
    prompts
        Those that are drawn region by region.
    """

    image: Image
    outside: Image
    prompts: tuple[Prompt, ...]

    def __call__(self, region: Mask) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the prompted image."""
        if not region.any():
            return self.image
        drawn = self.image
        if self.outside is not self.image:
            # np.where by bits, in a third of its time: 255 in the region, 0 elsewhere.
            inside = np.negative(region.view(np.uint8)).repeat(3, axis=1).reshape(drawn.shape)
            drawn = self.outside ^ ((drawn ^ self.outside) & inside)
        for prompt in self.prompts:
            drawn = prompt.draw(drawn, region)
        return drawn


@dataclass(frozen=True)
class Combined(Prompt):
    """Several prompts on one image, in order of their rank.

    >>> [type(prompt).__name__ for prompt in (Circle() + Blur()).prompts]
    ['Blur', 'Circle']
    """

    prompts: tuple[Prompt, ...] = ()  # a field in place of the property

    def __post_init__(self) -> None:
        single = [part for prompt in self.prompts for part in prompt.prompts]
        object.__setattr__(self, "prompts", tuple(sorted(single, key=lambda prompt: prompt.rank)))

    def as_released(self) -> "Combined":
        """Return every prompt with the drawing of the released code."""
        return Combined(tuple(prompt.as_released() for prompt in self.prompts))


@dataclass(frozen=True)
class Fade(Prompt):
    """Base of what fades the outside: it overrides `faded`, which is called once an image."""

    def faded(self, image: Image) -> Image:
        """Return the image as it looks outside the region."""
        raise NotImplementedError

    def draw(self, image: Image, region: Mask) -> Image:
        """Keep the inside."""
        return Drawing(image, self.faded(image), ())(region)


@dataclass(frozen=True)
class Blur(Fade):
    """Blur the outside.

    Parameters
    ----------
    size
        Width of the Gaussian kernel in pixels, odd; sigma follows from it as in OpenCV.
    """

    rank: ClassVar[int] = 1
    released: ClassVar[dict[str, Any]] = {"engine": "opencv"}
    size: int = 15
    engine: DrawEngine = "skimage"

    def __post_init__(self) -> None:
        _check_engine(self.engine)
        if self.size < 1 or self.size % 2 == 0:
            raise SettingError(f"expected an odd blur size in pixels, got {self.size}; the release uses 15")

    def faded(self, image: Image) -> Image:
        """Return the image blurred."""
        if self.engine == "opencv":
            import cv2

            blurred = cv2.GaussianBlur(image, (self.size, self.size), 0)
        else:
            sigma, radius = 0.3 * ((self.size - 1) / 2 - 1) + 0.8, self.size // 2
            blurred = ndimage.gaussian_filter(
                image.astype(np.float32), (sigma, sigma, 0), radius=(radius, radius, 0), mode="mirror"
            )
        return blurred.round().astype(np.uint8)


@dataclass(frozen=True)
class Grey(Fade):
    """Remove the colour from the outside.

    Parameters
    ----------
    swapped
        As released, the weights of blue and red are exchanged: there OpenCV reads RGB as BGR (quirk 7).
    """

    rank: ClassVar[int] = 2
    released: ClassVar[dict[str, Any]] = {"swapped": True}
    swapped: bool = False

    WEIGHTS: ClassVar[tuple[int, int, int]] = (9798, 19235, 3735)
    """ITU-R BT.601 luma weights 0.299, 0.587, 0.114 in 15-bit fixed point, as OpenCV computes it."""

    def faded(self, image: Image) -> Image:
        """Return the image in grey."""
        weights = np.array(self.WEIGHTS[::-1] if self.swapped else self.WEIGHTS, dtype=np.int32)
        luma = ((image @ weights + (1 << 14)) >> 15).astype(np.uint8)
        return luma[..., None].repeat(3, axis=2)


@dataclass(frozen=True)
class Black(Fade):
    """Blacken the outside."""

    rank: ClassVar[int] = 3

    def faded(self, image: Image) -> Image:
        """Return a black image."""
        return np.zeros_like(image)


@dataclass(frozen=True)
class Outline(Prompt):
    """Base of the outlines.

    Parameters
    ----------
    colour
        RGB.
    width
        In pixels, drawn inwards.
    """

    released: ClassVar[dict[str, Any]] = {"engine": "opencv"}
    colour: Colour = RED
    width: int = 1
    engine: DrawEngine = "skimage"

    def __post_init__(self) -> None:
        _check_engine(self.engine)
        if self.width < 1:
            raise SettingError(
                f"expected a line width of 1 pixel or more, got {self.width}; the release uses 1"
            )

    def _border(self, image: Image, area: Mask) -> Image:
        drawn, core = image.copy(), area
        for _ in range(self.width):
            # The outside of the image counts as inside: no line along the image's own border.
            around = np.pad(core, 1, constant_values=True)
            core = core & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        drawn[area & ~core] = self.colour
        return drawn


@dataclass(frozen=True)
class Circle(Outline):
    """An ellipse round the region's centre, with half the region's extent as axes (red, 1 px)."""

    rank: ClassVar[int] = 4

    def draw(self, image: Image, region: Mask) -> Image:
        """Draw the ellipse."""
        frame = Frame.of(region)
        if self.engine == "opencv":
            import cv2

            axes = frame.axes[::-1]
            return cv2.ellipse(image.copy(), frame.centre[::-1], axes, 0, 0, 360, self.colour, self.width)
        (row, column), (rows, columns) = frame.centre, frame.axes
        down, right = np.ogrid[: region.shape[0], : region.shape[1]]
        area = ((down - row) / (rows + 0.5)) ** 2 + ((right - column) / (columns + 0.5)) ** 2 < 1
        return self._border(image, area)


@dataclass(frozen=True)
class Rectangle(Outline):
    """The region's bounding box (red, 1 px).

    Parameters
    ----------
    centred
        As released, the box is moved to the mean of the region's pixels.
    """

    rank: ClassVar[int] = 5
    released: ClassVar[dict[str, Any]] = {"engine": "opencv", "centred": True}
    centred: bool = False

    def draw(self, image: Image, region: Mask) -> Image:
        """Draw the box."""
        top, bottom, left, right, (row, column), (height, width) = Frame.of(region)
        if self.centred:
            top, bottom, left, right = row - height, row + height, column - width, column + width
        if self.engine == "opencv":
            import cv2

            return cv2.rectangle(image.copy(), (left, top), (right, bottom), self.colour, self.width)
        area = np.zeros(region.shape, dtype=bool)
        area[max(0, top) : bottom + 1, max(0, left) : right + 1] = True
        return self._border(image, area)


@dataclass(frozen=True)
class Contour(Outline):
    """The region's own outline, holes filled (red, 1 px)."""

    rank: ClassVar[int] = 6

    def draw(self, image: Image, region: Mask) -> Image:
        """Draw the contours."""
        filled = np.asarray(ndimage.binary_fill_holes(region))
        if self.engine == "opencv":
            import cv2

            mode, method = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            lines, _ = cv2.findContours(filled.astype(np.uint8), mode, method)
            return cv2.drawContours(image.copy(), lines, -1, self.colour, self.width)
        return self._border(image, filled)


@dataclass(frozen=True)
class Crop(Prompt):
    """Cut out the region's bounding box, never beyond the image.

    Parameters
    ----------
    margin
        Added on each side, as a share of the box's longer side.
    """

    rank: ClassVar[int] = 7
    margin: float = 0.1

    def __post_init__(self) -> None:
        if not self.margin >= 0:
            raise SettingError(f"expected a crop margin of 0 or more, got {self.margin}; 0.1 adds a tenth")

    def draw(self, image: Image, region: Mask) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the window."""
        frame = Frame.of(region)
        margin = round(self.margin * max(frame.bottom - frame.top + 1, frame.right - frame.left + 1))
        window = image[max(0, frame.top - margin) : frame.bottom + 1 + margin]
        return np.ascontiguousarray(window[:, max(0, frame.left - margin) : frame.right + 1 + margin])


class Frame(NamedTuple):
    """First and last row and column of a region, mean row and column of its pixels, half its extent."""

    top: int
    bottom: int
    left: int
    right: int
    centre: tuple[int, int]
    axes: tuple[int, int]

    @classmethod
    def of(cls, region: Mask) -> "Frame":
        """Measure a region that is not empty."""
        counts = region.sum(axis=1), region.sum(axis=0)
        (top, bottom), (left, right) = (np.flatnonzero(line)[[0, -1]].tolist() for line in counts)
        row, column = (int(line @ np.arange(len(line)) / line.sum()) for line in counts)
        return cls(
            top, bottom, left, right, (row, column), ((bottom - top + 1) // 2, (right - left + 1) // 2)
        )


PROMPTS: dict[str, type[Prompt]] = {
    prompt.__name__.lower(): prompt for prompt in (Circle, Contour, Rectangle, Blur, Grey, Black, Crop)
}
"""Every prompt by its name on the command line, in sweeps, in the Lab and in presets; add your own."""


def prompts(names: Iterable[str]) -> Prompt:
    """Build a prompt from names; "gray" is "grey".

    Raises SettingError if a name is unknown or there is none.

    Examples
    --------
    >>> prompts(["circle", "blur"]) == Circle() + Blur()
    True
    """
    names = [{"gray": "grey"}.get(name, name) for name in names]
    wrong = next((repr(name) for name in names if name not in PROMPTS), None if names else "none")
    if wrong:
        raise SettingError(
            f"expected prompts out of {', '.join(PROMPTS)}, got {wrong}; name one, or join several with +"
        )
    parts = [PROMPTS[name]() for name in names]
    return parts[0] if len(parts) == 1 else Combined(tuple(parts))


def _check_engine(engine: DrawEngine) -> None:
    if engine == "opencv":
        try:
            import cv2  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise SettingError(
                'expected OpenCV for engine="opencv", got no module cv2; '
                'pip install "clip-as-rnn-lab[opencv]", or use engine="skimage"'
            ) from error
