"""A CLIP-like model that knows the images of `carlab check` by heart: what its row for CLIPs needs to pass.

Real CLIP weights are not here. The tower of the offline backbone, and a projection fitted to the captions and
regions of the check, give a model with all that a CLIP has: unit embeddings, a logit scale, a tokenizer, a
normalisation. It says nothing about images that it was not fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from carlab.backbones.offline import Offline
from carlab.evaluate.check.measures import MASK_SIDE
from carlab.evaluate.check.subjects import SUBJECTS
from carlab.files.pictures import resize, shrink
from carlab.queries import CAM_TEMPLATE


@dataclass(frozen=True, eq=False, repr=False)
class StandIn(Offline):
    """Offline's towers with the space of its sentence vectors in common, compared by the cosine."""

    mean: tuple[float, float, float] = (127 / 255,) * 3
    std: tuple[float, float, float] = (128 / 255,) * 3
    tokenizer: Any = None
    model: Any = None
    name: str = "stand-in"
    max_side: int = MASK_SIDE

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return self.sentences.encode(texts, self.class_centre)

    def encode_images(self, images: np.ndarray, *, skip_blocks: int = 0) -> Tensor:
        return functional.normalize(super().encode_images(images), dim=-1)

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.model.logit_scale.exp() * functional.normalize(images, dim=-1) @ texts.T

    def _classes(self, means: Tensor) -> Tensor:
        return means @ self.class_rows.T + self.class_bias  # sentence vectors: no classes, and no people

    def _pixels(self, images: np.ndarray) -> Tensor:
        pixels = torch.tensor(images).permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std


def stand_in(offline: Offline) -> StandIn:
    """Fit the projection: images to captions, regions to queries, what is around them to the mean query."""
    own = {field.name: getattr(offline, field.name) for field in fields(Offline)}
    own |= {"name": "stand-in", "max_side": MASK_SIDE, "tokenizer": offline.sentences.tokenizer}
    own["model"] = SimpleNamespace(logit_scale=torch.tensor(100.0).log())
    # Without a last layer, embeddings are features.
    width = offline.class_rows.shape[1]
    bare = StandIn(**own | {"class_rows": torch.eye(width), "class_bias": torch.zeros(width)})
    queries = [subject.query for subject in SUBJECTS if subject.query]
    meant = bare.encode_text([CAM_TEMPLATE.replace("{}", query) for query in queries])
    side = bare.input_side
    squares = np.stack([resize(subject.image(), side, side, "bicubic") for subject in SUBJECTS])
    inputs = [*Offline.encode_images(bare, squares)]
    targets = [*bare.encode_text([subject.caption for subject in SUBJECTS])]
    for subject, target in zip(SUBJECTS, meant, strict=False):
        trunk = bare.trunk(shrink(subject.image(), MASK_SIDE))
        inside = torch.tensor(subject.region(*trunk.grid)).flatten()
        inputs += [trunk.activations[inside].mean(0), trunk.activations[~inside].mean(0)]
        targets += [target, meant.mean(0)]
    x, y = torch.stack(inputs), torch.stack(targets)
    centre = x.mean(0)
    kernel = (x - centre) @ (x - centre).T
    rows = (x - centre).T @ torch.linalg.solve(
        kernel + 1e-2 * kernel.diag().mean() * torch.eye(len(x)), y - y.mean(0)
    )
    return replace(bare, class_rows=rows.T.contiguous(), class_bias=y.mean(0) - centre @ rows)
