"""Mask proposers by name."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

from carlab.errors import check_choice

PROPOSERS: dict[str, str | Callable[..., Any]] = {
    "gradcam": "carlab.stages.proposer.gradcam:GradCam",
    "hirescam": "carlab.stages.proposer.hirescam:HiResCam",
    "layercam": "carlab.stages.proposer.layercam:LayerCam",
    "gradcam++": "carlab.stages.proposer.gradcam_plus_plus:GradCamPlusPlus",
    "legrad": "carlab.stages.proposer.legrad:LeGrad",
    "patches": "carlab.stages.proposer.patches:Patches",
    "maskclip": "carlab.stages.proposer.maskclip:MaskClip",
    "sclip": "carlab.stages.proposer.sclip:SClip",
    "clearclip": "carlab.stages.proposer.clearclip:ClearClip",
    "naclip": "carlab.stages.proposer.naclip:NaClip",
    "rollout": "carlab.stages.proposer.rollout:Rollout",
}
"""Each a class, or MODULE:NAME where it is, so that to list them loads no torch; add your own."""


def proposer_named(name: str) -> Callable[..., Any]:
    """Return the class of a mask proposer.

    Raises SettingError if there is none of this name.
    """
    check_choice("a mask proposer", name, PROPOSERS)
    kind = PROPOSERS[name]
    return resolve_name(kind) if isinstance(kind, str) else kind


def supported(backbone: Any) -> list[str]:
    """Return the names of the proposers that a backbone supports."""
    kinds = {name: proposer_named(name) for name in PROPOSERS}
    return [name for name, kind in kinds.items() if isinstance(backbone, getattr(kind, "NEEDS", object))]
