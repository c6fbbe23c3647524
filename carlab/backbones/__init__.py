"""Frozen image-text models behind one protocol; no other part of carlab holds weights."""

from carlab.backbones.base import AttentionVlm as AttentionVlm
from carlab.backbones.base import DenseVlm as DenseVlm
from carlab.backbones.base import FrozenVlm as FrozenVlm
from carlab.backbones.base import Trunk as Trunk
from carlab.backbones.registry import load_backbone as load_backbone
