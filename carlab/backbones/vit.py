"""A vision transformer with a text tower, frozen: what CLIP and its relatives share.

A family is a subclass in a file of its own: it encodes texts and loads checkpoints (see `clip`).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from carlab.backbones.base import TEXT_BYTES, Trunk, cached_embeddings
from carlab.cache import Cache
from carlab.files.pictures import resize
from carlab.files.shapes import Image
from carlab.hooks import timed

AFFINITY_BLOCKS = 8
"""The affinity is the mean attention of the last eight blocks (CLIP-ES, section 3.3)."""

Positions = Literal["bicubic", "bilinear half"]
_M = TypeVar("_M", bound=torch.nn.Module)


@dataclass(frozen=True, eq=False, repr=False)
class Vit:
    """A vision transformer and a text tower as proposer or classifier.

    Parameters
    ----------
    model, tokenizer
        Of transformers; `vision_model` and `visual_projection` are read from the model.
    mean, std
        Of the input's channels, for values in [0, 1].
    positions
        How position embeddings are resized to another input size: "bicubic" in full precision, or as
        released "bilinear half", bilinear and rounded to half precision (quirk 8).
    side_multiple
        The proposer's input sides are rounded up to multiples of this; None: the patch size. The release
        always took 16 (quirk 14).
    max_side
        Longest side, in pixels, of the proposer's input: larger images are shrunk first, because the
        attention grows with the fourth power.
    texts
        Embeddings of the texts encoded so far.
    """

    model: Any
    tokenizer: Any
    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    sha256: str
    positions: Positions = "bicubic"
    side_multiple: int | None = None
    max_side: int = 1024
    texts: Cache = field(default_factory=lambda: Cache(TEXT_BYTES))
    input_side: int = field(init=False)
    """Side in pixels of the images that the checkpoint was trained on."""
    device: torch.device = field(init=False)
    """Device of the weights."""

    def __repr__(self) -> str:
        return f"<{self.name}>"  # a stage that holds a model is still printed in one line

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_side", int(self.model.config.vision_config.image_size))
        object.__setattr__(self, "device", self.model.logit_scale.device)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "q d"]:
        """Return unit-norm text embeddings.

        Raises QueryError if a text is longer than the model reads (77 tokens in CLIP).
        """
        with timed("text"):
            return cached_embeddings(self.texts, texts, self._encode_text)

    def _encode_text(self, texts: list[str]) -> Float[Tensor, "q d"]:
        raise NotImplementedError

    @torch.no_grad()
    def trunk(self, image: Image) -> Trunk:
        """Run all blocks but the last, once; see `Trunk`."""
        with timed("trunk", passes=1):
            resized = self._resized(image)
            patch = self._vision.embeddings.patch_size
            tokens = self._vision.pre_layrnorm(self._embed(resized[None]))[0]
            *blocks, last = self._vision.encoder.layers
            recorded = min(AFFINITY_BLOCKS, len(blocks) + 1) - 1
            relations = torch.zeros((), device=self.device)
            for block in blocks[: len(blocks) - recorded]:
                tokens = block(tokens[None], None)[0]
            for block in blocks[len(blocks) - recorded :]:
                attended, weights = attend(block.self_attn, block.layer_norm1(tokens))
                tokens = mix(block, tokens + attended)
                relations = relations + weights[1:, 1:]  # patch to patch, without the class token
            relations = relations + attend(last.self_attn, last.layer_norm1(tokens))[1][1:, 1:]
            # Gradients of p are tiny: the tail works in at least single precision.
            tokens = tokens.to(self._tail_dtype)
            normed = self._tail_block.layer_norm1(tokens)
        return Trunk(
            activations=normed[1:],
            grid=(resized.shape[0] // patch, resized.shape[1] // patch),
            relations=relations / (recorded + 1),
            relation_kind="attention",
            state=(tokens, normed[:1]),
        )

    def tail(self, trunk: Trunk, activations: Float[Tensor, "n c"]) -> Float[Tensor, " d"]:
        """Run the last block, the post-norm, the mean over the patch tokens (not CLS), and the projection."""
        tokens, class_token = trunk.state
        attended, _ = attend(self._tail_block.self_attn, torch.cat([class_token, activations]))
        tokens = mix(self._tail_block, tokens + attended)
        pooled = self._tail_norm(tokens[1:]).mean(0)
        return functional.linear(pooled, self.model.visual_projection.weight.to(self._tail_dtype))

    @torch.no_grad()
    def encode_images(
        self, images: UInt8[np.ndarray, "m s1 s2 3"], *, skip_blocks: int = 0
    ) -> Float[Tensor, "m d"]:
        """Return unit-norm image embeddings from the class token."""
        with timed("image encode", passes=len(images)):
            tokens = self._vision.pre_layrnorm(self._embed(images))
            blocks = self._vision.encoder.layers
            for block in blocks[: len(blocks) - skip_blocks]:
                tokens = block(tokens, None)
            features = self.model.visual_projection(self._vision.post_layernorm(tokens[:, 0]))
            return functional.normalize(features, dim=-1)

    def logits(self, images: Float[Tensor, "m d"], texts: Float[Tensor, "q d"]) -> Float[Tensor, "m q"]:
        """Return exp(logit scale) times the cosine."""
        scale = self.model.logit_scale.detach().exp().to(images)
        return scale * functional.normalize(images, dim=-1) @ texts.to(images).T

    @cached_property
    def _vision(self) -> Any:
        return self.model.vision_model

    @cached_property
    def _channels(self) -> Float[Tensor, "2 3 1 1"]:
        """Mean and deviation of the channels, moved to the device once."""
        return torch.tensor([self.mean, self.std], device=self.device)[..., None, None]

    @cached_property
    def _tail_dtype(self) -> torch.dtype:
        return torch.promote_types(self.model.dtype, torch.float32)

    @cached_property
    def _tail_block(self) -> Any:
        return _at_least_single(self._vision.encoder.layers[-1], self._tail_dtype)

    @cached_property
    def _tail_norm(self) -> torch.nn.Module:
        return _at_least_single(self._vision.post_layernorm, self._tail_dtype)

    def _resized(self, image: Image) -> UInt8[np.ndarray, "h2 w2 3"]:
        shrink = min(1.0, self.max_side / max(image.shape[:2]))
        multiple = self.side_multiple or self._vision.embeddings.patch_size
        rows, columns = (ceil(shrink * side / multiple) * multiple for side in image.shape[:2])
        return resize(image, rows, columns, method="bicubic")

    def _embed(self, images: UInt8[np.ndarray, "m h w 3"]) -> Float[Tensor, "m n c"]:
        """Normalise the pixels, and embed patches and positions."""
        pixels = torch.tensor(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = self._channels
        embeddings = self._vision.embeddings
        patches = embeddings.patch_embedding(((pixels - mean) / std).to(self.model.dtype))
        grid = tuple(patches.shape[2:])
        positions = resize_positions(embeddings.position_embedding.weight, grid, self.positions)
        class_tokens = embeddings.class_embedding.expand(len(images), 1, -1)
        return torch.cat([class_tokens, patches.flatten(2).mT], dim=1) + positions


def attend(attention: Any, tokens: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n n"]]:
    """Return the self-attention of one image, and its weights as the mean over heads, float32 or better."""
    query, key, value = (
        project(tokens).unflatten(1, (attention.num_heads, -1)).transpose(0, 1)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    precision = torch.promote_types(tokens.dtype, torch.float32)
    weights = (query * attention.scale @ key.mT).softmax(-1, dtype=precision)
    attended = attention.out_proj((weights.to(tokens.dtype) @ value).transpose(0, 1).flatten(1))
    return attended, weights.mean(0)


def mix(block: Any, tokens: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Return the second half of a block: the residual MLP."""
    return tokens + block.mlp(block.layer_norm2(tokens))


def resize_positions(
    positions: Shaped[Tensor, "k c"], grid: tuple[int, int], mode: Positions
) -> Shaped[Tensor, "n c"]:
    """Return position embeddings (class token first) for another patch grid."""
    side = round((len(positions) - 1) ** 0.5)
    if grid != (side, side):
        square = positions[1:].unflatten(0, (side, side)).permute(2, 0, 1)[None].float()
        kind = "bicubic" if mode == "bicubic" else "bilinear"
        resized = functional.interpolate(square, grid, mode=kind, align_corners=False)
        patches = resized[0].flatten(1).T.to(positions.dtype)
        positions = torch.cat([positions[:1], patches])
    return positions.half().to(positions.dtype) if mode == "bilinear half" else positions


def _at_least_single(module: _M, dtype: torch.dtype) -> _M:
    return module if next(module.parameters()).dtype == dtype else copy.deepcopy(module).to(dtype)
