"""Segment Anything: every region of an image, by transformers' mask generation; or masks at prompts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from pycocotools import mask as runs
from torch import Tensor
from torch.nn import functional
from transformers import SamHQModel, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.pipelines import MaskGenerationPipeline

from carlab.backbones.base import weights_digest
from carlab.backbones.checkpoint import build, loading
from carlab.backbones.hub import Family, find_checkpoint
from carlab.hooks import progress

MODELS: dict[str, Any] = {"sam": SamModel, "sam_hq": SamHQModel}
SAM2 = ("sam2", "sam2_video")
"""Types of SAM 2, of images and of video: their part for images is the same."""
SAM = Family("SAM", (*MODELS, *SAM2), "syscv-community/sam-hq-vit-huge", "superpixels")
Prompt = tuple[Float[np.ndarray, " 4"] | None, Float[np.ndarray, "_ 2"]]
"""A box (left, top, right, bottom) or none, and points (x, y) of the object, in pixels of the image."""


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

    @torch.no_grad()
    def prompted(
        self, image: UInt8[np.ndarray, "h w 3"], prompts: Sequence[Prompt]
    ) -> Bool[np.ndarray, "m h w"]:
        """Return the best mask at each prompt: a box or None, and points, in pixels of the image."""
        inputs = self.processor(images=Image.fromarray(image), return_tensors="pt")
        whole, seen = image.shape[:2], tuple(inputs["reshaped_input_sizes"][0].tolist())
        found = self.model.get_image_embeddings(inputs["pixel_values"].to(self.model.device))
        names = ("image_embeddings", "intermediate_embeddings")  # HQ-SAM has both
        embeddings = dict(zip(names, found if isinstance(found, tuple) else (found,), strict=False))
        scale = (seen[1] / whole[1], seen[0] / whole[0])
        padded = (self.processor.pad_size["height"], self.processor.pad_size["width"])
        masks = decoded(self.model, embeddings, prompts, scale)
        return np.stack([enlarged(mask, padded, seen, whole) for mask in masks])

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


def decoded(
    model: Any, embeddings: Mapping[str, Any], prompts: Sequence[Prompt], scale: tuple[float, float]
) -> Iterator[Float[Tensor, "i j"]]:
    """Yield the logits of the mask at each prompt that the model estimates best, at its own resolution.

    Parameters
    ----------
    embeddings
        Of the image, by the names under which `model` takes them.
    scale
        Pixels of the model's input per pixel of the image, in x and y.
    """
    for done, (box, points) in enumerate(prompts):
        progress("sam", done, len(prompts))
        given: dict[str, Tensor] = {}
        if box is not None:
            corners = (box.reshape(2, 2) * scale).reshape(1, 1, 4)
            given["input_boxes"] = torch.tensor(corners, dtype=torch.float32, device=model.device)
        if len(points):
            places = (points * scale)[None, None]
            given["input_points"] = torch.tensor(places, dtype=torch.float32, device=model.device)
            given["input_labels"] = torch.ones(1, 1, len(points), dtype=torch.long, device=model.device)
        out = model(**embeddings, **given, multimask_output=True)
        yield out.pred_masks[0, 0, out.iou_scores[0, 0].argmax()]


def enlarged(
    logits: Float[Tensor, "i j"], padded: tuple[int, int], seen: tuple[int, int], whole: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Return a mask at the size of the image: to the model's input, without its padding, and from there.

    >>> enlarged(torch.tensor([[1.0, -1.0], [1.0, -1.0]]), (2, 2), (1, 2), (2, 4)).astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0]])
    """
    grown = functional.interpolate(logits[None, None].float(), padded, mode="bilinear", align_corners=False)
    kept = grown[..., : seen[0], : seen[1]]
    mask = functional.interpolate(kept, whole, mode="bilinear", align_corners=False)[0, 0] > 0
    return np.asarray(mask.cpu().numpy())


@lru_cache(maxsize=1)
def load_sam(name: str, *, device: str = "cpu", **options: Any) -> Any:
    """Load a SAM, HQ-SAM or SAM 2 by folder or hub name, in single precision. The last one is cached.

    Raises BackboneError if it cannot be found, reached or read, is no SAM, or holds broken weights.

    Parameters
    ----------
    name
        The paper's is HQ-SAM ViT-H, `carlab.stages.regions.SAM_HQ`.
    device
        Such as "cuda"; on a CPU, ViT-H and 64 points a side take minutes an image.
    options
        Fields of `Sam`, e.g. `points_per_side=32`; a SAM 2 (`carlab.backbones.sam2.Sam2`) has none of them.
    """
    checkpoint = find_checkpoint(name, SAM)
    with loading(checkpoint):
        if checkpoint.kind in SAM2:
            from carlab.backbones import sam2

            return sam2.load(checkpoint, name, device)
        model = build(
            MODELS[checkpoint.kind], checkpoint.config, checkpoint.tensors(), checkpoint, torch.float32
        )
        processor = Processor.from_pretrained(checkpoint.folder, local_files_only=True)
    digest, source = weights_digest(model), checkpoint.source
    return Sam(model.to(device), processor, f"SAM {name}", digest, source=source, **options)
