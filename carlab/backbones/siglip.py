"""SigLIP and SigLIP 2 of fixed resolution, in transformers' format.

Against CLIP: no class token and no norm before the first block; attention pooling by a learnt query in place
of the class token; a text tower that reads every position, padding included; and a logit bias, because each
pair of image and text was trained on its own, by a sigmoid.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from carlab.backbones.checkpoint import Checkpoint, build
from carlab.backbones.clip import check_lengths
from carlab.backbones.vit import Vit, beside, read_pixels
from carlab.errors import BackboneError


class Siglip(Vit):
    """A SigLIP (Zhai et al. 2023) or SigLIP 2 (Tschannen et al. 2025) as proposer or classifier."""

    FAMILY = "SigLIP"

    @property
    def logit_bias(self) -> float:
        """Bias that the sigmoid was trained with."""
        return float(self.model.logit_bias)

    def logits(self, images: Float[Tensor, "m d"], texts: Float[Tensor, "q d"]) -> Float[Tensor, "m q"]:
        """Return exp(logit scale) times the cosine, plus the bias."""
        return super().logits(images, texts) + self.model.logit_bias.detach().to(images)

    def _encode_text(self, texts: list[str]) -> Float[Tensor, "q d"]:
        tokens = self.tokenizer(texts, self.model.config.text_config.max_position_embeddings)
        # No attention mask: the tower was trained to read the padding, and pools at the last position.
        features = self.model.get_text_features(input_ids=tokens.to(self.device)).pooler_output
        return functional.normalize(features, dim=-1)

    @property
    def _head(self) -> torch.nn.Module:
        return self._vision.head


def load(checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Siglip:
    """Load a SigLIP, or a SigLIP 2 that is not NaFlex.

    Raises BackboneError if weights or tokenizer are missing or broken.
    """
    model = build(SiglipModel, checkpoint.config, checkpoint.tensors(), checkpoint, dtype)
    pixels = read_pixels(SiglipImageProcessorPil, checkpoint)
    tokenizer = read_texts(checkpoint, model.config.text_config.vocab_size)
    return Siglip.frozen(checkpoint, model, device=device, tokenizer=tokenizer, **pixels, **options)


@dataclass(frozen=True)
class Texts:
    """Tokens as in training: canonical text, an end token, and padding on the right to the full length.

    Parameters
    ----------
    end, padding
        Numbers of the tokens.
    punctuation
        Whether punctuation is kept: SigLIP drops it, SigLIP 2 keeps it. Both read lower case alone.
    """

    tokenizer: Tokenizer
    end: int
    padding: int
    punctuation: bool

    def __call__(self, texts: Sequence[str], length: int) -> Int[Tensor, "q {length}"]:
        """Return the tokens of every text; QueryError if there are more than `length`."""
        written = [text.lower() if self.punctuation else canonical(text) for text in texts]
        encoded = self.tokenizer.encode_batch(written, add_special_tokens=False)
        rows = [[*one.ids, self.end] for one in encoded]
        check_lengths(list(texts), [len(row) for row in rows], length)
        return torch.tensor([row + [self.padding] * (length - len(row)) for row in rows])


VOCABULARIES = {("<eos>", "<pad>"): True, ("</s>", "</s>"): False}
"""End and padding of a vocabulary (SigLIP 2's is Gemma's, and first), and whether punctuation is kept."""


def canonical(text: str) -> str:
    """Return a text as SigLIP's tokenizer prepares it.

    >>> canonical("  A photo of a Cat's  tail. ")
    'a photo of a cats tail'
    """
    return re.sub(r"\s+", " ", text.lower().translate(str.maketrans("", "", string.punctuation))).strip()


def read_texts(checkpoint: Checkpoint, rows: int) -> Texts:
    """Return the checkpoint's own tokenizer for a text tower with `rows` token embeddings.

    Raises BackboneError if there is none, or it is that of another model.
    """
    tokenizer = Tokenizer.from_file(str(beside(checkpoint, "tokenizer.json")))  # spiece.model is not read
    size = tokenizer.get_vocab_size(with_added_tokens=False)
    for names, punctuation in VOCABULARIES.items():
        end, padding = (tokenizer.token_to_id(name) for name in names)
        if end is not None and padding is not None and size <= rows:
            tokenizer.no_padding()
            tokenizer.no_truncation()
            return Texts(tokenizer, end, padding, punctuation)
    raise BackboneError(
        f"expected a tokenizer of SigLIP or SigLIP 2 with up to {rows} tokens, got one of "
        f"{size} in {checkpoint.name!r}; copy tokenizer.json of the same model there"
    )
