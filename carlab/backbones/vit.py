"""A vision transformer with a text tower, frozen: what CLIP and its relatives share.

A family is a file of its own: a subclass of `Vit` with the four methods below that raise NotImplementedError,
and a function `load`. See `clip` and `siglip`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from carlab.backbones.base import (
    GPU_TEXT_BATCH,
    TEXT_BATCH,
    TEXT_BYTES,
    Trunk,
    Weigh,
    attention_weights,
    cached_embeddings,
    weights_digest,
)
from carlab.backbones.bounds import Pixels
from carlab.backbones.checkpoint import Checkpoint
from carlab.cache import Cache
from carlab.errors import BackboneError
from carlab.files.pictures import resize
from carlab.files.schema import convert
from carlab.files.shapes import Image
from carlab.hooks import timed

AFFINITY_BLOCKS = 8
"""The affinity is the mean attention of the last eight blocks (CLIP-ES, section 3.3)."""

Positions = Literal["bicubic", "bilinear half"]
_M = TypeVar("_M", bound=torch.nn.Module)
_V = TypeVar("_V", bound="Vit")


class State(NamedTuple):
    """What the tail reads of the trunk beside the activations: tokens with a class token first, if any."""

    tokens: Float[Tensor, "k c"]
    """Input of the last block, before its first norm."""
    class_token: Float[Tensor, "1 c"] | Float[Tensor, "0 c"]
    """After that norm."""
    embedded: Float[Tensor, "k c"]
    """Input of the first block."""


@dataclass(frozen=True)
class VitBlock:
    """One block, and its input before and after the first norm; see `carlab.backbones.base.Block`."""

    module: Any
    tokens: Float[Tensor, "k c"]
    normed: Float[Tensor, "k c"]

    def weights(self) -> Float[Tensor, "a k k"]:
        """Return its own attention weights."""
        attention = self.module.self_attn
        query, key, _ = heads(attention, self.normed)
        return attention_weights(query, key, attention.scale)

    def __call__(
        self, weigh: Weigh = attention_weights, *, residual: bool = True, mlp: bool = True
    ) -> Float[Tensor, "k c"]:
        """Return its output, without residual connection around the attention or without MLP if told so."""
        attended, _ = attend(self.module.self_attn, self.normed, weigh)
        mixed = self.tokens + attended if residual else attended
        return mix(self.module, mixed) if mlp else mixed


@dataclass(frozen=True, eq=False, repr=False)
class Vit:
    """A vision transformer and a text tower as proposer or classifier.

    Parameters
    ----------
    model
        Of transformers; the trunk reads its `vision_model`.
    tokenizer
        For the family's own `_encode_text`.
    mean, std
        Of the input's channels, for values in [0, 1].
    sha256, source
        Digest of the weights in use; and the files that they came from, in one line.
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
    source: str = ""
    positions: Positions = "bicubic"
    side_multiple: int | None = None
    max_side: int = 1024
    texts: Cache = field(default_factory=lambda: Cache(TEXT_BYTES))
    input_side: int = field(init=False)
    """Side in pixels of the images that the checkpoint was trained on."""
    device: torch.device = field(init=False)
    """Device of the weights."""

    FAMILY: ClassVar[str] = "ViT"
    """First part of the name."""
    CLASS_TOKENS: ClassVar[int] = 0
    """Tokens before those of the patches: 1, and a norm before the first block too; or 0."""

    # --- what a family overrides ---

    def _encode_text(self, texts: list[str]) -> Float[Tensor, "q d"]:
        """Return unit-norm text embeddings; QueryError if a text has too many tokens."""
        raise NotImplementedError

    @property
    def _head(self) -> torch.nn.Module:
        """Module from the normed class token, or all normed tokens where there is none, to the embedding."""
        raise NotImplementedError

    def logits(self, images: Float[Tensor, "m d"], texts: Float[Tensor, "q d"]) -> Float[Tensor, "m q"]:
        """Return exp(logit scale) times the cosine."""
        scale = self.model.logit_scale.detach().exp().to(images)
        return scale * functional.normalize(images, dim=-1) @ texts.to(images).T

    # --- what is shared ---

    @classmethod
    def frozen(
        cls: type[_V], checkpoint: Checkpoint, model: Any, *, device: torch.device, **fields: Any
    ) -> _V:
        """Return the backbone of a checkpoint on a device; `fields` are the other fields."""
        model = model.requires_grad_(False).eval().to(device)
        name, digest = f"{cls.FAMILY} {checkpoint.name}", weights_digest(model)
        return cls(model=model, name=name, sha256=digest, source=checkpoint.source, **fields)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_side", int(self.model.config.vision_config.image_size))
        object.__setattr__(self, "device", self.model.logit_scale.device)

    def __repr__(self) -> str:
        return f"<{self.name}>"  # a stage that holds a model is still printed in one line

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "q d"]:
        """Return unit-norm text embeddings.

        Raises QueryError if a text is longer than the model reads (CLIP 77 tokens, SigLIP 64).
        """
        with timed("text"):
            most = TEXT_BATCH if self.device.type == "cpu" else GPU_TEXT_BATCH
            return cached_embeddings(self.texts, texts, self._encode_text, most)

    @torch.no_grad()
    def trunk(self, image: Image) -> Trunk:
        """Run all blocks but the last, once; see `Trunk`."""
        with timed("trunk", passes=1):
            resized = self._resized(image)
            patch, skip = self._vision.embeddings.patch_size, self.CLASS_TOKENS
            tokens = embedded = self._embed(resized[None])[0]
            *blocks, last = self._vision.encoder.layers
            recorded = min(AFFINITY_BLOCKS, len(blocks) + 1) - 1
            relations = torch.zeros((), device=self.device)
            for block in blocks[: len(blocks) - recorded]:
                tokens = block(tokens[None], None)[0]
            for block in blocks[len(blocks) - recorded :]:
                attended, weights = attend(block.self_attn, block.layer_norm1(tokens))
                tokens = mix(block, tokens + attended)
                relations = relations + weights[skip:, skip:]  # patch to patch, without a class token
            relations = relations + attend(last.self_attn, last.layer_norm1(tokens))[1][skip:, skip:]
            # Gradients of p are tiny: the tail works in at least single precision.
            tokens = tokens.to(self._tail_dtype)
            normed = self._single(last).layer_norm1(tokens)
        return Trunk(
            activations=normed[skip:],
            grid=(resized.shape[0] // patch, resized.shape[1] // patch),
            relations=relations / (recorded + 1),
            relation_kind="attention",
            state=State(tokens, normed[:skip], embedded),
        )

    def tail(self, trunk: Trunk, activations: Float[Tensor, "n c"]) -> Float[Tensor, " d"]:
        """Run the last block, and embed its output."""
        normed = self._single(self._vision.post_layernorm)(self._last(trunk.state, activations)())
        head = self._single(self._head)
        # As released, the mean over the patch tokens is read in place of the class token.
        return head(normed[self.CLASS_TOKENS :].mean(0) if self.CLASS_TOKENS else normed[None]).view(-1)

    @torch.no_grad()
    def patches(self, trunk: Trunk) -> Float[Tensor, "n d"]:
        """Run the last block as it was trained, and embed each patch by itself."""
        (last,) = self.blocks(trunk)
        return self.embed(last()[self.CLASS_TOKENS :])

    @torch.no_grad()
    def blocks(self, trunk: Trunk, number: int | None = 1) -> list[VitBlock]:
        """Return the last blocks, each with its input; more than one cost another pass through the trunk."""
        layers, found = list(self._vision.encoder.layers), [self._last(trunk.state, trunk.activations)]
        wanted = len(layers) if number is None else min(number, len(layers))
        if wanted > 1:
            with timed("trunk", passes=1):
                tokens = trunk.state.embedded
                for place, layer in enumerate(layers[:-1]):
                    if place >= len(layers) - wanted:
                        found.insert(-1, self._block(layer, tokens.to(self._tail_dtype)))
                    tokens = layer(tokens[None], None)[0]
        return found

    def embed(self, tokens: Float[Tensor, "m c"]) -> Float[Tensor, "m d"]:
        """Return the embedding of each token by itself; attention pooling of one token is its value."""
        normed = self._single(self._vision.post_layernorm)(tokens)
        return self._single(self._head)(normed if self.CLASS_TOKENS else normed[:, None])

    @torch.no_grad()
    def encode_images(
        self, images: UInt8[np.ndarray, "m s1 s2 3"], *, skip_blocks: int = 0
    ) -> Float[Tensor, "m d"]:
        """Return unit-norm image embeddings, without the last `skip_blocks` blocks.

        Raises BackboneError if there are not that many blocks.
        """
        blocks = self._vision.encoder.layers
        if not 0 <= skip_blocks <= len(blocks):
            raise BackboneError(
                f"expected skip_blocks from 0 to {len(blocks)} with {self.name}, got {skip_blocks}; "
                "0 is the whole tower"
            )
        with timed("image encode", passes=len(images)):
            tokens = self._embed(images)
            for block in blocks[: len(blocks) - skip_blocks]:
                tokens = block(tokens, None)
            read = tokens[:, 0] if self.CLASS_TOKENS else tokens
            return functional.normalize(self._head(self._vision.post_layernorm(read)), dim=-1)

    def _last(self, state: State, activations: Float[Tensor, "n c"]) -> VitBlock:
        """Return the last block on patch tokens A, which may be a leaf or edited."""
        layer = self._single(self._vision.encoder.layers[-1])
        return VitBlock(layer, state.tokens, torch.cat([state.class_token, activations]))

    def _block(self, layer: Any, tokens: Float[Tensor, "k c"]) -> VitBlock:
        single = self._single(layer)
        return VitBlock(single, tokens, single.layer_norm1(tokens))

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

    def _single(self, module: _M) -> _M:
        """Return a module in at least single precision: itself, or a copy made once."""
        if self.model.dtype == self._tail_dtype:
            return module
        if module not in self._copies:
            self._copies[module] = copy.deepcopy(module).to(self._tail_dtype)
        return self._copies[module]

    @cached_property
    def _copies(self) -> dict[Any, Any]:
        return {}

    def _resized(self, image: Image) -> UInt8[np.ndarray, "h2 w2 3"]:
        shrink = min(1.0, self.max_side / max(image.shape[:2]))
        multiple = self.side_multiple or self._vision.embeddings.patch_size
        rows, columns = (ceil(shrink * side / multiple) * multiple for side in image.shape[:2])
        return resize(image, rows, columns, method="bicubic")

    def _embed(self, images: UInt8[np.ndarray, "m h w 3"]) -> Float[Tensor, "m k c"]:
        """Normalise the pixels, embed patches and positions, and return the input of the first block."""
        pixels = torch.tensor(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = self._channels
        embeddings = self._vision.embeddings
        patches = embeddings.patch_embedding(((pixels - mean) / std).to(self.model.dtype))
        grid = (patches.shape[2], patches.shape[3])
        table = embeddings.position_embedding.weight
        positions = resize_positions(table, grid, self.positions, self.CLASS_TOKENS)
        tokens = patches.flatten(2).mT
        if not self.CLASS_TOKENS:
            return tokens + positions
        class_tokens = embeddings.class_embedding.expand(len(tokens), self.CLASS_TOKENS, -1)
        return self._vision.pre_layrnorm(torch.cat([class_tokens, tokens], dim=1) + positions)


def heads(attention: Any, tokens: Float[Tensor, "k c"]) -> tuple[Float[Tensor, "a k e"], ...]:
    """Return queries, keys and values of each head."""
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    return tuple(project(tokens).unflatten(1, (attention.num_heads, -1)).transpose(0, 1) for project in parts)


def attend(
    attention: Any, tokens: Float[Tensor, "k c"], weigh: Weigh = attention_weights
) -> tuple[Float[Tensor, "k c"], Float[Tensor, "k k"]]:
    """Return the self-attention of one image, and its weights as the mean over heads, float32 or better."""
    query, key, value = heads(attention, tokens)
    weights = weigh(query, key, attention.scale)
    attended = attention.out_proj((weights.to(tokens.dtype) @ value).transpose(0, 1).flatten(1))
    return attended, weights.mean(0)


def mix(block: Any, tokens: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Return the second half of a block: the residual MLP."""
    return tokens + block.mlp(block.layer_norm2(tokens))


def resize_positions(
    positions: Shaped[Tensor, "k c"], grid: tuple[int, int], mode: Positions, class_tokens: int
) -> Shaped[Tensor, "n c"]:
    """Return position embeddings (those of class tokens first) for another patch grid."""
    side = round((len(positions) - class_tokens) ** 0.5)
    if grid != (side, side):
        square = positions[class_tokens:].unflatten(0, (side, side)).permute(2, 0, 1)[None].float()
        kind = "bicubic" if mode == "bicubic" else "bilinear"
        resized = functional.interpolate(square, grid, mode=kind, align_corners=False)
        patches = resized[0].flatten(1).T.to(positions.dtype)
        positions = torch.cat([positions[:class_tokens], patches])
    return positions.half().to(positions.dtype) if mode == "bilinear half" else positions


def read_pixels(kind: Any, checkpoint: Checkpoint) -> dict[str, tuple[float, ...]]:
    """Return mean and standard deviation of an image processor of transformers, for values in [0, 1].

    Raises BackboneError if its file is missing.
    """
    beside(checkpoint, "preprocessor_config.json", "processor_config.json")
    processor = kind.from_pretrained(str(checkpoint.folder), local_files_only=True)
    scale = 255 * processor.rescale_factor
    statistics = {"mean": processor.image_mean, "std": processor.image_std}
    return checked_pixels({name: [value / scale for value in values] for name, values in statistics.items()})


def checked_pixels(statistics: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Return mean and std of three channels; ValueError if they are no numbers, or a deviation is 0."""
    pixels: Pixels = convert(statistics, Pixels)
    return {"mean": pixels.mean, "std": pixels.std}


def beside(checkpoint: Checkpoint, *names: str) -> Path:
    """Return the first of some files that lies beside the weights; BackboneError if none does."""
    for name in names:
        if (checkpoint.folder / name).is_file():
            return checkpoint.folder / name
    raise BackboneError(
        f"expected {' or '.join(names)} beside the weights, got {checkpoint.name!r} without; "
        "copy that of the same model there"
    )
