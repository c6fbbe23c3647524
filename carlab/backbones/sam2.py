"""SAM 2: masks of an image at prompts. Its image processor needs torchvision; what it does is done here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from transformers import Sam2Model
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from carlab.backbones.base import weights_digest
from carlab.backbones.checkpoint import Checkpoint, build
from carlab.backbones.sam import Prompt, decoded, enlarged
from carlab.files.opening import read_file
from carlab.files.pictures import resize
from carlab.files.schema import parse_plain


@dataclass(frozen=True, eq=False, repr=False)
class Sam2:
    """A SAM 2 (Ravi et al. 2025), prompted by boxes and points. It gives no regions of its own.

    Parameters
    ----------
    mean, std
        Of the input's channels, for values in [0, 1].
    source
        Files, revision and digests of the weights, for provenance.
    """

    model: Any
    name: str
    sha256: str
    mean: tuple[float, ...] = tuple(IMAGENET_DEFAULT_MEAN)
    std: tuple[float, ...] = tuple(IMAGENET_DEFAULT_STD)
    source: str = ""

    @torch.no_grad()
    def prompted(
        self, image: UInt8[np.ndarray, "h w 3"], prompts: Sequence[Prompt]
    ) -> Bool[np.ndarray, "m h w"]:
        """Return the best mask at each prompt: a box or None, and points, in pixels of the image."""
        height, width = image.shape[:2]
        rows, columns = sides(self.model.config.prompt_encoder_config.image_size)
        pixels = torch.tensor(resize(image, rows, columns)).to(self.model.device).permute(2, 0, 1) / 255
        mean, std = torch.tensor([self.mean, self.std], device=pixels.device)[..., None, None]
        embeddings = self.model.get_image_embeddings(((pixels - mean) / std)[None])
        scale = (columns / width, rows / height)
        masks = decoded(self.model, {"image_embeddings": embeddings}, prompts, scale)
        return np.stack([enlarged(mask, (rows, columns), (rows, columns), (height, width)) for mask in masks])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def load(checkpoint: Checkpoint, name: str, device: str) -> Sam2:
    """Load a SAM 2, of images or of video, whose memory of earlier frames is left out.

    Raises BackboneError if weights are missing or broken.
    """
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    config = {part: checkpoint.config[part] for part in parts if part in checkpoint.config}
    model = build(Sam2Model, config, checkpoint.tensors(), checkpoint, torch.float32)
    pixels = {}
    for file in ("preprocessor_config.json", "processor_config.json"):
        if (checkpoint.folder / file).is_file():
            read = parse_plain(read_file(checkpoint.folder / file))
            read = read.get("image_processor", read)
            pixels = {key: tuple(read[f"image_{key}"]) for key in ("mean", "std") if f"image_{key}" in read}
            break
    digest = weights_digest(model)
    return Sam2(model.to(device), f"SAM {name}", digest, source=checkpoint.source, **pixels)


def sides(size: Any) -> tuple[int, int]:
    """Return rows and columns of a size that a configuration gives as one number or as two.

    >>> sides(1024), sides([64, 32])
    ((1024, 1024), (64, 32))
    """
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
