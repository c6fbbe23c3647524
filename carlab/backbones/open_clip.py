"""CLIP in open_clip's own format, converted to that of transformers while loading.

open_clip keeps query, key and value of a block in one matrix and its projections transposed, names the
layers otherwise, and pools the text at the highest token number. The rest is the same model.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from carlab.backbones.checkpoint import Checkpoint, build, quiet
from carlab.backbones.clip import Clip, read_tokenizer
from carlab.backbones.vit import checked_pixels
from carlab.errors import BackboneError, reason

PARTS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.": "vision_model.embeddings.patch_embedding.",
    "visual.ln_pre.": "vision_model.pre_layrnorm.",
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
    "visual.ln_post.": "vision_model.post_layernorm.",
    "visual.proj": "visual_projection.weight",
    "token_embedding.": "text_model.embeddings.token_embedding.",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "transformer.resblocks.": "text_model.encoder.layers.",
    "ln_final.": "text_model.final_layer_norm.",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
"""How names of tensors begin in open_clip and in transformers."""
TRANSPOSED = ("visual.proj", "text_projection")
BLOCK_PARTS = {
    ".ln_1.": ".layer_norm1.",
    ".attn.out_proj.": ".self_attn.out_proj.",
    ".ln_2.": ".layer_norm2.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}
"""Names inside a block."""
NO_WEIGHTS = {"attn_mask", "visual.attn_mask", "input_resolution", "context_length", "vocab_size"}
"""What some checkpoints hold beside the weights."""

MODEL = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text")
VISION = {"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16, "image_size": 224}
TEXT = {"layers": 12, "width": 512, "heads": 8, "mlp_ratio": 4.0, "context_length": 77, "vocab_size": 49408}
"""Keys of the configuration that are converted, with open_clip's defaults."""
PLAIN: dict[str, tuple[Any, ...]] = {"pool_type": ("tok", "argmax"), "proj_type": ("linear",)}
"""Values of other keys that say what CLIP does anyway."""
UNUSED = ("patch_dropout", "output_tokens", "pad_id", "eos_id", "hf_tokenizer_name", "pos_embed_type")
"""Keys that change nothing here: they act in training, or on parts that such a model has not."""


def load(checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Clip:
    """Load a CLIP whose towers are plain transformers, with a class token and argmax pooling.

    Raises BackboneError if it is built otherwise, or weights or tokenizer are missing or broken.
    """
    config = convert_config(checkpoint)
    model = build(CLIPModel, config, convert_tensors(checkpoint), checkpoint, dtype)
    tokenizer = read_tokenizer(checkpoint, config.text_config.vocab_size)
    pixels = {"mean": OPENAI_CLIP_MEAN, "std": OPENAI_CLIP_STD} | checkpoint.config.get("preprocess_cfg", {})
    return Clip.frozen(
        checkpoint, model, device=device, tokenizer=tokenizer, **checked_pixels(pixels), **options
    )


@quiet()
def convert_config(checkpoint: Checkpoint) -> CLIPConfig:
    """Return the configuration in transformers' terms.

    Raises BackboneError if it describes a model that transformers' CLIP cannot be.
    """
    try:
        model = checkpoint.config["model_cfg"]
        vision, text = VISION | model["vision_cfg"], TEXT | model["text_cfg"]
        odd = [*unusual(model, MODEL), *unusual(vision, VISION), *unusual(text, TEXT)]
        act = "quick_gelu" if model.get("quick_gelu") else "gelu"
        common = {"hidden_act": act, "projection_dim": model["embed_dim"]}
        if not odd:
            return CLIPConfig(
                projection_dim=model["embed_dim"],
                vision_config={
                    **common,
                    **tower(vision, vision["width"] // vision["head_width"]),
                    "patch_size": vision["patch_size"],
                    "image_size": vision["image_size"],
                },
                text_config={
                    **common,
                    **tower(text, text["heads"]),
                    "max_position_embeddings": text["context_length"],
                    "vocab_size": text["vocab_size"],
                    "eos_token_id": 2,  # pools at the highest token number, as open_clip does
                },
            )
    except Exception as error:  # what is not there, or of a type that transformers refuses
        odd = [f"a broken open_clip_config.json ({reason(error)})"]
    raise BackboneError(
        f"expected an open_clip model of two plain transformers, got {odd[0]} in {checkpoint.name!r}; "
        "take one that is saved in the format of transformers, such as CLIP or SigLIP"
    )


def unusual(part: dict[str, Any], known: Collection[str]) -> list[str]:
    """Return the entries that ask for something else than CLIP's own design."""
    return [
        f"{key}={value!r}"
        for key, value in part.items()
        if (isinstance(value, list) if key in known else value and key not in UNUSED)
        and value not in PLAIN.get(key, ())
    ]


def tower(part: dict[str, Any], heads: int) -> dict[str, Any]:
    """Return what both towers have, in transformers' terms."""
    return {
        "hidden_size": part["width"],
        "intermediate_size": int(part["width"] * part["mlp_ratio"]),
        "num_hidden_layers": part["layers"],
        "num_attention_heads": heads,
    }


def convert_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights under transformers' names.

    Raises BackboneError if there are tensors that belong to no part of a CLIP.
    """
    found: dict[str, Tensor] = {}
    rest = []
    for name, tensor in checkpoint.tensors().items():
        plain = name.removeprefix("text.")  # with custom_text
        new = renamed(plain)
        stem, joint, kind = new.partition(".attn.in_proj_")
        if joint:
            thirds = zip("qkv", tensor.chunk(3), strict=True)
            found |= {f"{stem}.self_attn.{part}_proj.{kind}": third for part, third in thirds}
        elif new:
            found[new] = tensor.T if plain in TRANSPOSED else tensor
        elif plain not in NO_WEIGHTS:
            rest.append(name)
    if rest:
        raise BackboneError(
            f"expected the tensors of a plain open_clip model, got {len(rest)} others ({rest[0]}, ...) in "
            f"{checkpoint.name!r}; take one that is saved in the format of transformers"
        )
    return found


def renamed(name: str) -> str:
    """Return transformers' name of a tensor, but for the joint projections; "" if it belongs to no part.

    >>> renamed("visual.transformer.resblocks.3.ln_2.bias")
    'vision_model.encoder.layers.3.layer_norm2.bias'
    """
    start = next((part for part in PARTS if name.startswith(part)), "")
    new = PARTS[start] + name.removeprefix(start) if start else ""
    for old, layer in BLOCK_PARTS.items():
        new = new.replace(old, layer)
    return new
