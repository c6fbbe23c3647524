"""What was made once is kept for the next time, the oldest forgotten first."""

from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Shaped


def digest(values: Shaped[np.ndarray, "..."]) -> bytes:
    """What an array is known by: its values, not its shape or type."""
    return blake2b(values.tobytes(), digest_size=16).digest()


def remember(store: dict[Any, Any], new: dict[Any, Any], most: int) -> None:
    """Add to a store, and forget its oldest beyond `most`."""
    store |= new
    forget(store, most)


def forget(store: dict[Any, Any], most: int) -> None:
    """Leave the latest `most` in a store."""
    for key in list(store)[: max(0, len(store) - most)]:
        del store[key]
