"""Bounds of a checkpoint's configuration: checked before anything is built or allocated by it."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from carlab.files.schema import Number, convert

Width = Annotated[int, Meta(ge=1, le=65_536)]
Layers = Annotated[int, Meta(ge=1, le=256)]
InputSide = Annotated[int, Meta(ge=1, le=8192)]
TokenRows = Annotated[int, Meta(ge=1, le=4_000_000)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
SLACK = 1.1
"""A model may have so many times the numbers of its weights: some are derived, or shared."""
FEW = 1_000_000


class Tower(msgspec.Struct):
    """What a part of a model is built by, where its configuration has it."""

    hidden_size: Width = 1
    intermediate_size: Width = 1
    projection_dim: Width = 1
    output_channels: Width = 1
    num_hidden_layers: Layers = 1
    num_attention_heads: Width = 1
    num_channels: Annotated[int, Meta(ge=1, le=16)] = 3
    image_size: InputSide = 8192
    patch_size: InputSide = 1
    vocab_size: TokenRows = 1
    max_position_embeddings: TokenRows = 1
    eos_token_id: int = 0
    iou_head_depth: Layers = 1
    num_multimask_outputs: Layers = 1

    def __post_init__(self) -> None:
        """Raise ValueError if heads do not share the width, or no patch fits in the image."""
        if self.num_attention_heads > 1 and self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} heads for a width of {self.hidden_size}")
        if self.patch_size > self.image_size:
            raise ValueError(f"patches of {self.patch_size} in images of {self.image_size}")


class Pixels(msgspec.Struct):
    """Mean and deviation of the channels, for values in [0, 1]."""

    mean: tuple[Number, Number, Number]
    std: tuple[Positive, Positive, Positive]


def check_config(config: Any) -> None:
    """Raise ValueError if a configuration of transformers asks for what no model is.

    Its parts are those that transformers has read, with its defaults.
    """
    parts = [part for part in vars(config).values() if hasattr(part, "to_dict")]
    for part in (config, *parts):
        convert(part.to_dict(), Tower)


def check_size(cls: Any, config: Any, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError if a model has more numbers than its weights, or they are no fractions.

    The model is built without memory, to count.
    """
    odd = [name for name, tensor in tensors.items() if tensor.dtype in (torch.int8, torch.uint8, torch.int32)]
    if odd:
        raise ValueError(f"quantised weights, {odd[0]} of {tensors[odd[0]].dtype}, which are not read here")
    with torch.device("meta"):
        asked = sum(weight.numel() for weight in cls(config).parameters())
    held = sum(tensor.numel() for tensor in tensors.values())
    if asked > SLACK * held + FEW:
        raise ValueError(f"a model of {asked} numbers, where its weights have {held}")
