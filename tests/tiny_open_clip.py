"""A tiny CLIP as open_clip builds and saves it, in plain torch, with its own names and layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.tiny_clip import save_tiny_tokenizer

CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 64,
        "layers": 3,
        "width": 64,
        "head_width": 16,
        "mlp_ratio": 2.5,
        "patch_size": 16,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 514, "width": 48, "heads": 3, "layers": 2},
}
MEAN, STD = (0.48, 0.45, 0.41), (0.27, 0.26, 0.28)


class QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, inner))
        self.mlp.add_module("gelu", act())
        self.mlp.add_module("c_proj", nn.Linear(inner, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Tower(nn.Module):
    def __init__(self, cfg: Mapping[str, Any], heads: int, act: type[nn.Module]) -> None:
        super().__init__()
        width, inner = cfg["width"], int(cfg["width"] * cfg.get("mlp_ratio", 4))
        self.resblocks = nn.ModuleList(Block(width, heads, inner, act) for _ in range(cfg["layers"]))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self, cfg: Mapping[str, Any], embed_dim: int, act: type[nn.Module]) -> None:
        super().__init__()
        width, patch = cfg["width"], cfg["patch_size"]
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((cfg["image_size"] // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Tower(cfg, width // cfg.get("head_width", 64), act)
        self.proj = nn.Parameter(torch.zeros(width, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).permute(0, 2, 1)
        start = self.class_embedding.expand(len(pixels), 1, -1)
        x = self.ln_pre(torch.cat([start, patches], dim=1) + self.positional_embedding)
        return self.ln_post(self.transformer(x))[:, 0] @ self.proj


class OpenClip(nn.Module):
    """What open_clip's `CLIP` computes (its `factory` builds it from such a configuration)."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__()
        act = QuickGelu if cfg.get("quick_gelu") else nn.GELU
        text = cfg["text_cfg"]
        self.visual = Visual(cfg["vision_cfg"], cfg["embed_dim"], act)
        self.transformer = Tower(text, text["heads"], act)
        self.token_embedding = nn.Embedding(text["vocab_size"], text["width"])
        self.positional_embedding = nn.Parameter(torch.zeros(text["context_length"], text["width"]))
        self.ln_final = nn.LayerNorm(text["width"])
        self.text_projection = nn.Parameter(torch.zeros(text["width"], cfg["embed_dim"]))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_text(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding
        later = torch.full((len(self.positional_embedding),) * 2, float("-inf")).triu(1)
        x = self.ln_final(self.transformer(x, later))
        return x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ self.text_projection


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Weights that depend on names, shapes and seed alone (the stream of RandomState is fixed)."""
    rng = np.random.RandomState(seed)
    tensors = {}
    for name in sorted(shapes):
        spread = 1.0 if "norm" in name or "ln_" in name or not shapes[name] else 0.25
        drawn = spread * rng.standard_normal(tuple(shapes[name])) * (0.2 if spread == 1 else 1)
        centre = 1.0 if spread == 1 and name.endswith(("weight", "scale")) else 0.0
        tensors[name] = torch.tensor(centre + drawn, dtype=torch.float32)
    return tensors


def tiny_open_clip(cfg: Mapping[str, Any] = CONFIG, seed: int = 0) -> OpenClip:
    """The model with random weights."""
    model = OpenClip(cfg)
    model.load_state_dict(random_tensors({k: tuple(v.shape) for k, v in model.state_dict().items()}, seed))
    return model.eval().requires_grad_(False)


def save_tiny_open_clip(folder: Path, cfg: Mapping[str, Any] = CONFIG, *, pickled: bool = False) -> Path:
    """Save it as open_clip's `push_to_hf_hub` does."""
    save_tiny_tokenizer(folder)
    config = {"model_cfg": cfg, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    # With custom_text the text tower is a module of its own.
    prefix = "text." if cfg.get("custom_text") else ""
    tensors = {
        name if name.startswith("visual.") or name == "logit_scale" else prefix + name: value
        for name, value in tiny_open_clip(cfg).state_dict().items()
    }
    if pickled:  # as open_clip saved before it had safetensors, the buffer of the causal mask included
        torch.save({**tensors, "attn_mask": torch.zeros(77, 77)}, folder / "open_clip_pytorch_model.bin")
    else:
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "open_clip_model.safetensors")
    return folder
