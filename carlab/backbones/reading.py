"""Read what lies beside the weights of a checkpoint: configuration, tokenizer, image processor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from carlab.backbones.checkpoint import Checkpoint
from carlab.backbones.hub import quiet
from carlab.errors import BackboneError, reason


@contextmanager
def reading(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Read a part of a checkpoint in the `with` block; whatever is raised there becomes one BackboneError."""
    try:
        with quiet():
            yield
    except Exception as error:  # transformers and tokenizers raise anything from OSError to Exception itself
        raise BackboneError(
            f"expected {what} beside the weights, got none that can be read in {checkpoint.name!r} "
            f"({reason(error)}); download or save the checkpoint again"
        ) from error


def read_pixels(kind: Any, checkpoint: Checkpoint) -> dict[str, tuple[float, ...]]:
    """Return mean and standard deviation by which a transformers image processor prepares values in [0, 1].

    Raises BackboneError if its file is missing or cannot be read.
    """
    with reading(checkpoint, "preprocessor_config.json"):
        processor = kind.from_pretrained(str(checkpoint.folder), local_files_only=True)
        scale = 255 * processor.rescale_factor
        statistics = {"mean": processor.image_mean, "std": processor.image_std}
        return {name: tuple(value / scale for value in values) for name, values in statistics.items()}
