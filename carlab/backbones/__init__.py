"""Frozen image-text models behind one protocol; no other part of carlab holds weights."""

from carlab.backbones.base import FrozenVlm, Trunk
from carlab.backbones.registry import load_backbone

__all__ = ["FrozenVlm", "Trunk", "load_backbone"]
