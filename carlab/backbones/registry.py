"""Load a backbone by name."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from carlab.backbones.base import FrozenVlm
from carlab.backbones.checkpoint import loading
from carlab.backbones.hub import Family, find_checkpoint
from carlab.errors import SettingError, check_choice, check_text, quoted

OFFLINE = "offline"
DTYPES = ("float32", "bfloat16", "float16", "float64")


FAMILIES = {
    "clip": "carlab.backbones.clip",
    "open_clip": "carlab.backbones.open_clip",
    "siglip": "carlab.backbones.siglip",
}
"""Module of each type of checkpoint, with `load(checkpoint, device=, dtype=, **options)`."""
IMAGE_TEXT = Family("image-text", tuple(FAMILIES), "openai/clip-vit-base-patch16", OFFLINE)

LOADERS: dict[str, Callable[..., FrozenVlm]] = {}
"""Loaders of one's own by prefix: `LOADERS["toy"](NAME, device=, dtype=, **options)` loads "toy:NAME"."""


def load_backbone(name: str, *, device: str = "cpu", dtype: str = "float32", **options: Any) -> FrozenVlm:
    """Load "offline" (embedded, not CLIP), a checkpoint of one of `FAMILIES`, or one of `LOADERS`.

    Raises SettingError if the device or dtype is unknown or not usable here; BackboneError if the weights
    cannot be found, reached or trusted.

    Parameters
    ----------
    name
        "offline", a local folder, "org/name", "org/name@revision", or "PREFIX:NAME".
    device, dtype
        Such as "cuda" and "bfloat16".
    options
        Fields of the backbone, such as `max_side=512`.
    """
    check_text("a backbone", name)
    place = check_device(device)
    check_choice("a dtype", dtype, DTYPES)
    if dtype == "float16" and place.type == "cpu":
        raise SettingError("expected float16 on a GPU, got device 'cpu'; use bfloat16 or float32 there")
    precision = getattr(torch, dtype)
    prefix, _, rest = name.partition(":")
    if prefix in LOADERS:
        return LOADERS[prefix](rest, device=place, dtype=precision, **options)
    if name == OFFLINE:
        from carlab.backbones.offline import load_offline

        return load_offline(device=place, dtype=precision, **options)
    checkpoint = find_checkpoint(name, IMAGE_TEXT)
    family = import_module(FAMILIES[checkpoint.kind])
    with loading(checkpoint):
        return family.load(checkpoint, device=place, dtype=precision, **options)


def check_device(device: str) -> torch.device:
    """Return the torch device if it can be used on this machine."""
    check_text("a device", device)
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        usable = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        usable += ["mps"] if torch.backends.mps.is_available() else []
        raise SettingError(
            f"expected a device of this machine ({', '.join(usable)}), got {quoted(device)}; "
            "choose one of them"
        ) from error
    return place
