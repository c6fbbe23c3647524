"""How the files beside this one were made, once, by open_clip and sentencepiece themselves.

    pip install open_clip_torch==3.3.0 sentencepiece==0.2.3
    python -m tests.backbones.golden.make

open_clip imports torchvision and timm, which its plain CLIP does not use: where they are missing, empty
modules stand in for them.
"""

import importlib.util
import json
import sys
from importlib.machinery import ModuleSpec
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch

from tests.tiny_open_clip import CONFIG, random_tensors

HERE = Path(__file__).parent
CONFIGS: dict[str, dict[str, Any]] = {
    "gelu": CONFIG,
    "quick": {**CONFIG, "quick_gelu": True},
    "custom": {**CONFIG, "custom_text": True},
}
TOKENS = [[512, 5, 300, 7, 513, 0, 0], [512, 513, 0, 0, 0, 0, 0], [512, 9, 9, 1, 2, 3, 513]]
"""Start, letters, end and padding; up to the context length with zeros."""
TEXTS = [
    "a photo of a cat.",
    "A Red  Car!",
    "it's the dog's ball",
    "ice-cream \t cone",
    "...",
    "café 7",
    "x" * 90,
]


def stand_ins() -> None:
    for name in ("torchvision", "timm"):
        if importlib.util.find_spec(name) is None:
            for part in ("", ".ops", ".ops.misc", ".transforms", ".transforms.functional", ".layers"):
                module = MagicMock()
                module.__spec__, module.__path__ = ModuleSpec(name + part, None), []
                sys.modules[name + part] = module
            sys.modules[f"{name}.ops.misc"].FrozenBatchNorm2d = type("FrozenBatchNorm2d", (), {})


def golden_pixels() -> torch.Tensor:
    """Two normalised images; the same on every machine."""
    return random_tensors({"pixels": (2, 3, 64, 64)}, 7)["pixels"] * 4


@torch.no_grad()
def open_clip_outputs() -> dict[str, Any]:
    stand_ins()
    from open_clip.model import CLIP, CustomTextCLIP

    found = {}
    for name, cfg in CONFIGS.items():
        fields = {key: value for key, value in cfg.items() if key != "custom_text"}
        model = (CustomTextCLIP if cfg.get("custom_text") else CLIP)(**fields).eval()
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        model.load_state_dict(random_tensors(shapes, 3))
        tokens = torch.tensor([row + [0] * (77 - len(row)) for row in TOKENS])
        found[name] = {
            "shapes": shapes,
            "images": model.encode_image(golden_pixels()).tolist(),
            "texts": model.encode_text(tokens).tolist(),
        }
    return found


def siglip_tokens() -> list[list[int]]:
    import sentencepiece
    from transformers.convert_slow_tokenizer import SentencePieceExtractor, SpmConverter
    from transformers.models.siglip.tokenization_siglip import SiglipTokenizer

    lines = (files("carlab.data") / "imagenet1k_names.txt").read_text().splitlines()
    trained = BytesIO()
    numbers = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 300}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=trained, normalization_rule_name="identity", **numbers
    )
    path = HERE / "spiece.model"
    path.write_bytes(trained.getvalue())
    proto = SentencePieceExtractor(str(path)).proto
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    converted = SpmConverter.build_tokenizer_from_spm_proto(proto=proto, vocab=pieces)
    converted.save(str(HERE / "siglip_tokenizer.json"), pretty=False)
    slow = SiglipTokenizer(str(path))
    path.unlink()
    return [slow(text, padding="max_length", max_length=128)["input_ids"] for text in TEXTS]


if __name__ == "__main__":
    (HERE / "open_clip.json").write_text(json.dumps(open_clip_outputs()))
    (HERE / "siglip_tokens.json").write_text(json.dumps(dict(zip(TEXTS, siglip_tokens(), strict=True))))
