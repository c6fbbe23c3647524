"""The classifier's input against transformers' own image processor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from carlab.recurrence import ClipAsRnn
from carlab.stages.classifier import TemplateClassifier
from tests.tiny_clip import pixel_values

SIZES = [(48, 48), (70, 90), (91, 70), (48, 120), (333, 500), (60, 49), (48, 99), (99, 48)]
"""The last two leave margins of 51, whose halves the two round differently."""


@pytest.mark.parametrize("size", SIZES)
def test_crop_is_that_of_the_image_processor(
    size: tuple[int, int], tiny: ClipAsRnn, clip_folders: tuple[Path, Path]
) -> None:
    """Resize of the short side, centre crop, scale and normalisation, as CLIP was trained with."""
    backbone = tiny.classifier.backbone
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    classifier = TemplateClassifier(backbone, fit="crop")
    ours = pixel_values(backbone, classifier.preprocess(image)[None])
    processor = CLIPImageProcessorPil.from_pretrained(clip_folders[1])
    theirs = torch.as_tensor(np.asarray(processor(image, return_tensors="np")["pixel_values"]))
    assert ours.shape == theirs.shape == (1, 3, 48, 48)
    # Half an odd margin is rounded to even by torchvision, which the release crops with, and down here.
    margins = [side * 48 // min(size) - 48 for side in size]
    down, right = (round(margin / 2) - margin // 2 for margin in margins)
    np.testing.assert_allclose(ours[:, :, : 48 - down, : 48 - right], theirs[:, :, down:, right:], atol=1e-5)


def test_a_whole_image_encodes_as_in_transformers(tiny: ClipAsRnn) -> None:
    """The embedding of a preprocessed image against the model's own forward pass."""
    backbone = tiny.classifier.backbone
    images = np.random.default_rng(2).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    ours = backbone.encode_images(images)
    with torch.no_grad():
        features = backbone.model.get_image_features(
            pixel_values=pixel_values(backbone, images)
        ).pooler_output
    np.testing.assert_allclose(ours, torch.nn.functional.normalize(features, dim=-1), atol=1e-5)
