"""A real SAM with few random weights, saved as a checkpoint: no test needs a download."""

import json
from pathlib import Path

import torch
from transformers import Sam2Config, Sam2Model, SamConfig, SamHQConfig, SamHQModel, SamModel

WIDTH = {"hidden_size": 16}
SIDE = {"image_size": 64, "patch_size": 8}


def save_tiny_sam(folder: Path, *, hq: bool = False, seed: int = 0) -> Path:
    """Save model and preprocessor to `folder`; the same weights for the same seed."""
    vision = {**WIDTH, **SIDE, "num_hidden_layers": 2, "num_attention_heads": 2, "output_channels": 16}
    vision |= {"mlp_dim": 32, "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8}
    decoder = {**WIDTH, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder |= {"iou_head_hidden_dim": 16, "iou_head_depth": 2, **({"vit_dim": 16} if hq else {})}
    parts = {
        "vision_config": {**vision, "initializer_range": 0.1},
        "prompt_encoder_config": {**WIDTH, **SIDE, "mask_input_channels": 4},
        "mask_decoder_config": decoder,
        "initializer_range": 0.1,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SamHQModel(SamHQConfig(**parts)) if hq else SamModel(SamConfig(**parts))
    with torch.no_grad():  # as initialised, the point that is asked for changes nothing
        for weight in model.mask_decoder.parameters():
            weight *= 2 if weight.ndim > 1 else 1
    model.save_pretrained(folder)
    square = {"height": 64, "width": 64}
    preprocessor = {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 64}}
    preprocessor |= {"pad_size": square, "mask_size": {"longest_edge": 32}}
    preprocessor |= {"mask_pad_size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def save_tiny_sam2(folder: Path, *, seed: int = 0) -> Path:
    """Save a SAM 2 and its preprocessor to `folder`; the same weights for the same seed."""
    hiera = {
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [2, 2, 2, 2],
        "global_attention_blocks": [3],
        "initializer_range": 0.2,
    }
    vision = {
        "backbone_config": {**hiera, "model_type": "sam2_hiera_det_model"},
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 16,
        "initializer_range": 0.2,
    }
    prompts = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder |= {"iou_head_hidden_dim": 16, "iou_head_depth": 2, "initializer_range": 0.2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = Sam2Config(
            vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder,
            initializer_range=0.2,
        )  # fmt: skip
        model = Sam2Model(config)
    model.save_pretrained(folder)
    preprocessor = {"image_processor_type": "Sam2ImageProcessorFast", "size": {"height": 64, "width": 64}}
    preprocessor |= {"image_mean": [0.4, 0.45, 0.5], "image_std": [0.3, 0.2, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
