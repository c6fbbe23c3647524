"""A real SigLIP or SigLIP 2 with few random weights, saved as a checkpoint."""

import json
import shutil
from pathlib import Path

import torch
from transformers import SiglipConfig, SiglipModel
from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

from tests.tiny_clip import byte_letters

SIGLIP_TOKENIZER = Path(__file__).parent / "backbones" / "golden" / "siglip_tokenizer.json"
TOWER = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2}


def save_tiny_siglip(
    folder: Path, *, version: int = 1, patch: int = 16, size: int = 64, layers: int = 3, seed: int = 0
) -> Path:
    """Save model, tokenizer and preprocessor to `folder`; the same weights for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = save_tokenizer(folder, version)
    text = {**TOWER, "num_hidden_layers": 2, "vocab_size": rows, "max_position_embeddings": 64}
    vision = {**TOWER, "num_hidden_layers": layers, "image_size": size, "patch_size": patch}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        with torch.no_grad():  # as initialised, biases are zero and every attention is flat
            for name, weight in model.named_parameters():
                if weight.ndim > 1 and "embedding" not in name:
                    weight *= 2
                elif name.endswith("bias"):
                    weight.normal_(std=0.1)
            model.logit_scale.fill_(2.5)
            model.logit_bias.fill_(-1.5)
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "SiglipImageProcessor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "rescale_factor": 1 / 255,
        "size": {"height": size, "width": size},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def save_tokenizer(folder: Path, version: int) -> int:
    """Save a small tokenizer of the version's kind, and return how many tokens it has."""
    if version == 1:
        shutil.copy(SIGLIP_TOKENIZER, folder / "tokenizer.json")
        return 300
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [chr(code) for code in byte_letters()] + ["▁", "▁a", "▁c", "at", "▁cat", "▁p", "ho", "to"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(special + letters))}
    merges = [("▁", "a"), ("▁", "c"), ("a", "t"), ("▁c", "at"), ("▁", "p"), ("h", "o"), ("t", "o")]
    # As on the hub: no start token, an end token, padding on the right.
    options = {"add_bos_token": False, "add_eos_token": True, "padding_side": "right"}
    Siglip2Tokenizer(vocab=vocabulary, merges=merges, **options).save_pretrained(folder)
    # The file on the hub is Gemma's, which keeps capitals: lower case is the business of whoever reads it.
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    steps = content["normalizer"]["normalizers"]
    content["normalizer"]["normalizers"] = [step for step in steps if step["type"] != "Lowercase"]
    path.write_text(json.dumps(content))
    return len(vocabulary)
