"""The refiner: soft masks of the survivors to final masks, once, after the last step; one file for each kind.

Those that need torch or OpenCV are loaded where they are asked for, by `carlab.settings.REFINERS`.
"""

from carlab.stages.refiner.base import Inference as Inference
from carlab.stages.refiner.base import LabelRefiner as LabelRefiner
from carlab.stages.refiner.base import NoRefiner as NoRefiner
from carlab.stages.refiner.crf import DenseCrf as DenseCrf
from carlab.stages.refiner.crf import released as released
