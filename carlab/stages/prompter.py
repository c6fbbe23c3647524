"""v, the visual prompter: draw a region onto the photo, so that the classifier looks there.

Each prompt is a frozen dataclass called with a photo and one region; prompts
add up: `Circle() + Blur()`. When combined they act in a fixed order, whatever
the order they were added in: what is outside fades first (blur, grey, black),
outlines come on top (ellipse, rectangle, contour), a crop is last.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, UInt8

from carlab.errors import SettingError
from carlab.stages import drawing
from carlab.stages.drawing import Colour, Engine

RED: Colour = (255, 0, 0)


@dataclass(frozen=True)
class Prompt:
    """Base of all prompts."""

    rank: ClassVar[int] = 0
    """Place in the order of combined prompts, low first."""

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Draw `region`; an empty region leaves the photo as it is. Only a crop changes the size."""
        return self.draw(image, region) if region.any() else image

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Draw a region that is not empty."""
        raise NotImplementedError

    def __add__(self, other: "Prompt") -> "Combined":
        return Combined((*self.parts, *other.parts))

    @property
    def parts(self) -> tuple["Prompt", ...]:
        """The single prompts that this one is made of."""
        return (self,)


@dataclass(frozen=True)
class Combined(Prompt):
    """Several prompts on one picture, in order of their rank."""

    prompts: tuple[Prompt, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompts", tuple(sorted(self.prompts, key=lambda prompt: prompt.rank)))

    @property
    def parts(self) -> tuple[Prompt, ...]:
        """The single prompts, in the order in which they act."""
        return self.prompts

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Let each prompt draw on what the one before left."""
        picture = image
        for prompt in self.prompts:
            picture = prompt.draw(picture, region)
        return picture


@dataclass(frozen=True)
class Blur(Prompt):
    """Blur what is outside (Gaussian, `size` pixels wide, odd)."""

    rank: ClassVar[int] = 1
    size: int = 15
    engine: Engine = "skimage"

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise SettingError(f"expected an odd blur size in pixels, got {self.size}; the release uses 15")

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Keep the inside sharp."""
        return np.where(region[..., None], image, drawing.blur(image, self.size, self.engine))


@dataclass(frozen=True)
class Grey(Prompt):
    """Take the colour from what is outside.

    `swapped`: as released, the weights of blue and red are exchanged, because
    OpenCV was told that the RGB image was BGR (quirk 7).
    """

    rank: ClassVar[int] = 2
    swapped: bool = False

    WEIGHTS: ClassVar[tuple[int, int, int]] = (9798, 19235, 3735)
    """ITU-R BT.601 luma weights 0.299, 0.587, 0.114 in 15-bit fixed point, as OpenCV computes it."""

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Keep the inside coloured."""
        weights = np.array(self.WEIGHTS[::-1] if self.swapped else self.WEIGHTS, dtype=np.int32)
        luma = ((image @ weights + (1 << 14)) >> 15).astype(np.uint8)
        return np.where(region[..., None], image, luma[..., None])


@dataclass(frozen=True)
class Black(Prompt):
    """Blacken what is outside."""

    rank: ClassVar[int] = 3

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Keep the inside."""
        return np.where(region[..., None], image, np.uint8(0))


@dataclass(frozen=True)
class _Outline(Prompt):
    colour: Colour = RED
    width: int = 1
    engine: Engine = "skimage"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SettingError(
                f"expected a line width of 1 pixel or more, got {self.width}; the release uses 1"
            )


@dataclass(frozen=True)
class Circle(_Outline):
    """An ellipse round the region's centre, as wide and high as the region (red, 1 px)."""

    rank: ClassVar[int] = 4

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Outline the ellipse."""
        return drawing.ellipse(image, region, self.colour, self.width, self.engine)


@dataclass(frozen=True)
class Rectangle(_Outline):
    """The region's bounding box (red, 1 px).

    `centred`: as released, the box is moved to the mean of the region's pixels.
    """

    rank: ClassVar[int] = 5
    centred: bool = False

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Outline the box."""
        box = drawing.centred_extent(region) if self.centred else drawing.extent(region)
        return drawing.rectangle(image, box, self.colour, self.width, self.engine)


@dataclass(frozen=True)
class Contour(_Outline):
    """The region's own outline, holes filled (red, 1 px)."""

    rank: ClassVar[int] = 6

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Outline the region."""
        return drawing.contour(image, region, self.colour, self.width, self.engine)


@dataclass(frozen=True)
class Crop(Prompt):
    """Cut out the region's bounding box, widened on each side by `margin` times its longer side."""

    rank: ClassVar[int] = 7
    margin: float = 0.1

    def __post_init__(self) -> None:
        if not self.margin >= 0:
            raise SettingError(f"expected a crop margin of 0 or more, got {self.margin}; 0.1 adds a tenth")

    def draw(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the window, never beyond the photo."""
        box = drawing.extent(region)
        height, width = box.bottom - box.top + 1, box.right - box.left + 1
        margin = round(self.margin * max(height, width))
        window = image[max(0, box.top - margin) : box.bottom + 1 + margin]
        return np.ascontiguousarray(window[:, max(0, box.left - margin) : box.right + 1 + margin])


PROMPTS: dict[str, type[Prompt]] = {
    "circle": Circle,
    "contour": Contour,
    "rectangle": Rectangle,
    "blur": Blur,
    "grey": Grey,
    "black": Black,
    "crop": Crop,
}
"""Every prompt by the name used on the command line and in presets."""


def prompts(names: Iterable[str]) -> Prompt:
    """Build a prompt from names: `prompts(["circle", "blur"])`; "gray" is "grey".

    Raises
    ------
    SettingError
        If a name is unknown or there is none.
    """
    names = [{"gray": "grey"}.get(name, name) for name in names]
    unknown = [name for name in names if name not in PROMPTS]
    if unknown or not names:
        raise SettingError(
            f"expected prompts out of {', '.join(PROMPTS)}, got {unknown[0]!r}; join several with +"
            if unknown
            else f"expected one or more prompts out of {', '.join(PROMPTS)}, got none; name one"
        )
    parts = [PROMPTS[name]() for name in names]
    return parts[0] if len(parts) == 1 else Combined(tuple(parts))
