"""A real CLIP with few random weights, saved as a checkpoint: no test needs a download."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel

TOWER = {"num_attention_heads": 2, "projection_dim": 32}


def save_tiny_clip(
    folder: Path, *, patch: int = 16, size: int = 64, layers: int = 3, seed: int = 0, act: str = "quick_gelu"
) -> Path:
    """Save model, byte-level tokenizer and preprocessor to `folder`; the same weights for the same seed."""
    text = {**TOWER, "hidden_act": act, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    text |= {"vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    vision = {
        **TOWER,
        "hidden_act": act,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": layers,
    }
    vision |= {"image_size": size, "patch_size": patch}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    with torch.no_grad():  # as initialised, every position is the same and every attention flat
        for name, weight in model.vision_model.named_parameters():
            if weight.ndim > 1:
                weight *= 3 if "embedding" not in name else 1
    model.save_pretrained(folder)
    save_tiny_tokenizer(folder)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "image_mean": [0.5, 0.45, 0.4],
        "image_std": [0.27, 0.26, 0.28],
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def tiny_options(folders: tuple[Path, Path]) -> list[str]:
    """Options of the command line for two checkpoints: a proposer and a classifier."""
    proposer, classifier = map(str, folders)
    return ["--proposer-backbone", proposer, "--classifier", classifier]


def save_tiny_tokenizer(folder: Path) -> None:
    """Save CLIP's tokenizer without merges: one token a letter, 514 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*(chr(code) for code in byte_letters()), "<|startoftext|>", "<|endoftext|>"]
    words = [*words[:256], *(letter + "</w>" for letter in words[:256]), *words[256:]]
    for name, content in {
        "vocab.json": {word: index for index, word in enumerate(words)},
        "tokenizer_config.json": {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
        },
    }.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def byte_letters() -> list[int]:
    """Code points that stand for the bytes 0 to 255 in byte-level tokenizers."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [*plain, *(256 + k for k in range(len(rest)))]


def pixel_values(backbone: Any, images: np.ndarray) -> torch.Tensor:
    """Input of the vision model, (m, 3, h, w): scaled and normalised, as CLIP was trained with."""
    scaled = (images.astype(np.float32) / 255 - np.array(backbone.mean)) / np.array(backbone.std)
    return torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=backbone.model.dtype)
