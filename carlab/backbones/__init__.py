"""Frozen image-text models behind one protocol; the only part of carlab that holds weights."""

from carlab.backbones.protocol import FrozenVlm, Trunk
from carlab.backbones.registry import load_backbone

__all__ = ["FrozenVlm", "Trunk", "load_backbone"]
