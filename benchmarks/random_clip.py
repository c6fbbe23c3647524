"""CLIP architectures with random weights: they recognise nothing, but cost what trained ones cost."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import BatchEncoding, CLIPConfig, CLIPModel

from carlab.backbones.base import weights_digest
from carlab.backbones.clip import Clip
from carlab.backbones.registry import LOADERS
from carlab.errors import BackboneError

TEXT = {
    **{"hidden_act": "quick_gelu", "num_hidden_layers": 12, "vocab_size": 258},
    **{"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 257},
}
SIZES: dict[str, dict[str, Any]] = {
    "tiny/16": {"vision": (64, 128, 3, 2, 64, 16), "text": (64, 128, 2), "projection": 32},
    "ViT-B/16": {"vision": (768, 3072, 12, 12, 224, 16), "text": (512, 2048, 8), "projection": 512},
    "ViT-L/14": {"vision": (1024, 4096, 24, 16, 224, 14), "text": (768, 3072, 12), "projection": 768},
    "ViT-L/14@336": {"vision": (1024, 4096, 24, 16, 336, 14), "text": (768, 3072, 12), "projection": 768},
}
"""Width, MLP width, layers, heads, input side and patch; width, MLP width and heads of the text tower."""
PREFIX = "random"
"""`load_backbone("random:ViT-B/16")` builds one, once this module is imported."""


class ByteTokenizer:
    """One token a byte, between a start and an end token: random weights need no vocabulary."""

    def __call__(self, texts: Sequence[str], *, verbose: bool = False) -> dict[str, list[list[int]]]:
        """Return the tokens of each text; `verbose` has no effect."""
        return {"input_ids": [[256, *text.encode(), 257] for text in texts]}

    def pad(self, encoded: dict[str, list[list[int]]], return_tensors: str) -> BatchEncoding:
        """Pad with end tokens; `return_tensors` is always "pt"."""
        rows = [torch.tensor(row) for row in encoded["input_ids"]]
        tokens: Int[Tensor, "q k"] = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=257
        )
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
        return BatchEncoding({"input_ids": tokens, "attention_mask": mask})


def random_clip(
    name: str, *, device: torch.device, dtype: torch.dtype, seed: int = 0, **options: Any
) -> Clip:
    """Build a CLIP of a known size ("ViT-B/16") with random weights, the same for the same seed.

    Raises
    ------
    BackboneError
        If the size is unknown.
    """
    if name not in SIZES:
        raise BackboneError(
            f"expected a random CLIP out of {', '.join(f'{PREFIX}:{size}' for size in SIZES)}, "
            f"got {f'{PREFIX}:{name}'!r}; choose one of them"
        )
    width, mlp, layers, heads, side, patch = SIZES[name]["vision"]
    text_width, text_mlp, text_heads = SIZES[name]["text"]
    vision = {
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": side,
        "patch_size": patch,
        "hidden_act": "quick_gelu",
    }
    text = {
        **TEXT,
        "hidden_size": text_width,
        "intermediate_size": text_mlp,
        "num_attention_heads": text_heads,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=SIZES[name]["projection"])
        model = CLIPModel(config).requires_grad_(False).to(device, dtype).eval()
    model.logit_scale.fill_(4.6052)  # 100, as trained CLIPs have it
    sharpen(model, layers)
    mean, std = (0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)
    title = f"random {name} (recognises nothing)"
    return Clip(model, ByteTokenizer(), title, mean, std, weights_digest(model), **options)


def sharpen(model: CLIPModel, layers: int) -> None:
    """Scale queries and keys of the vision tower to the size that they have after training.

    As initialised, every patch attends to all others alike, the affinity is flat, and min-max magnifies
    rounding into differences that no trained CLIP shows.
    """
    for block in model.vision_model.encoder.layers:
        for project in (block.self_attn.q_proj, block.self_attn.k_proj):
            project.weight.mul_(1.5 * (2 * layers) ** 0.5)  # undoes the depth scaling; 1.5 peaks it


LOADERS[PREFIX] = random_clip
