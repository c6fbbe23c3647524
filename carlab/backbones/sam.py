"""Segment Anything: every region of an image, by transformers' mask generation."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from pycocotools import mask as runs
from torch import Tensor
from transformers import SamHQModel, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.pipelines import MaskGenerationPipeline

from carlab.backbones.base import weights_digest
from carlab.backbones.checkpoint import build, loading
from carlab.backbones.hub import Family, find_checkpoint
from carlab.hooks import progress

MODELS: dict[str, Any] = {"sam": SamModel, "sam_hq": SamHQModel}
SAM = Family("SAM", tuple(MODELS), "syscv-community/sam-hq-vit-huge", "superpixels")


@dataclass(frozen=True, eq=False, repr=False)
class Sam:
    """A SAM (Kirillov et al. 2023) or HQ-SAM (Ke et al. 2023), prompted at every point of a grid.

    Parameters
    ----------
    points_per_side
        The grid has its square of points; the paper of CaR takes 64.
    predicted_iou, stability
        A mask is kept when SAM's own estimate of its IoU, and the IoU of two cuts of it, exceed these.
    box_overlap
        Of two masks whose boxes have a larger IoU the one with the better estimate is kept.
    batch
        Points decoded at once.
    source
        Files, revision and digests of the weights, for provenance.
    """

    model: Any
    processor: "Processor"
    name: str
    sha256: str
    points_per_side: int = 64
    predicted_iou: float = 0.88
    stability: float = 0.95
    box_overlap: float = 0.7
    batch: int = 64
    source: str = ""

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "m h w"]:
        """Return masks, the best estimate first; none where no mask is good enough."""
        generate = Generation(model=self.model, image_processor=self.processor, device=self.model.device)
        found = generate(
            Image.fromarray(image),
            points_per_batch=self.batch,
            points_per_crop=self.points_per_side,
            pred_iou_thresh=self.predicted_iou,
            stability_score_thresh=self.stability,
            crops_nms_thresh=self.box_overlap,
        )
        return np.array(found["masks"], dtype=bool).reshape(-1, *image.shape[:2])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, points_per_side={self.points_per_side})"


class Generation(MaskGenerationPipeline):
    """transformers' pipeline, with progress reports at which it can be cancelled."""

    def preprocess(
        self, image: Any, points_per_batch: int, points_per_crop: int, **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the inputs of one batch of points after the other."""
        of = -(-(points_per_crop**2) // points_per_batch)
        progress("regions", 0, of)  # before the image itself is encoded
        inputs = super().preprocess(image, points_per_batch, points_per_crop=points_per_crop, **options)
        for done, batch in enumerate(inputs):
            progress("regions", done, of)
            yield batch


class Processor(SamImageProcessorPil):
    """transformers' processor, with a non-maximum suppression that needs no torchvision."""

    def post_process_for_mask_generation(
        self, all_masks: list[Any], all_scores: Tensor, all_boxes: Tensor, crops_nms_thresh: float
    ) -> tuple[list[Any], Tensor, list[Any], Tensor]:
        """Return the masks kept, as arrays, with their scores, run lengths and boxes."""
        kept = suppress(all_boxes.float(), all_scores, crops_nms_thresh)
        coded = [all_masks[index] for index in kept.tolist()]
        masks = [runs.decode(runs.frPyObjects(mask, *mask["size"])) for mask in coded]
        return masks, all_scores[kept], coded, all_boxes[kept]


def suppress(
    boxes: Float[Tensor, "m 4"], scores: Float[Tensor, " m"], threshold: float
) -> Int64[Tensor, " k"]:
    """Return the rows of the boxes (x1, y1, x2, y2) that non-maximum suppression keeps, best first.

    A box is dropped when its IoU with a better one that is kept exceeds `threshold`.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    order = scores.argsort(descending=True, stable=True)
    kept: list[Tensor] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        corner, end = boxes[best, :2].maximum(boxes[order, :2]), boxes[best, 2:].minimum(boxes[order, 2:])
        common = (end - corner).clamp(min=0).prod(dim=1)
        order = order[common <= threshold * (areas[best] + areas[order] - common)]
    return torch.stack(kept) if kept else order


@lru_cache(maxsize=1)
def load_sam(name: str, *, device: str = "cpu", **options: Any) -> Sam:
    """Load a SAM or HQ-SAM by folder or hub name, in single precision. The last one loaded is cached.

    Raises BackboneError if it cannot be found, reached or read, is no SAM, or holds broken weights.

    Parameters
    ----------
    name
        The paper's is HQ-SAM ViT-H, `carlab.stages.regions.SAM_HQ`.
    device
        Such as "cuda"; on a CPU, ViT-H and 64 points a side take minutes an image.
    options
        Fields of `Sam`, e.g. `points_per_side=32`.
    """
    checkpoint = find_checkpoint(name, SAM)
    with loading(checkpoint):
        model = build(
            MODELS[checkpoint.kind], checkpoint.config, checkpoint.tensors(), checkpoint, torch.float32
        )
        processor = Processor.from_pretrained(checkpoint.folder, local_files_only=True)
    digest, source = weights_digest(model), checkpoint.source
    return Sam(model.to(device), processor, f"SAM {name}", digest, source=source, **options)
