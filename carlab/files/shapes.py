"""Array types used throughout, each under one name.

Axis letters: h w image rows and columns, i j patch rows and columns, q queries.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

Image = UInt8[np.ndarray, "h w 3"]
"""RGB, 0 to 255."""
LabelMap = Int[np.ndarray, "h w"]
"""0 background, i + 1 the query or class i."""
Mask = Bool[np.ndarray, "h w"]
Masks = Bool[np.ndarray, "q h w"]
Maps = Float32[np.ndarray, "q i j"]
"""Activation maps or soft masks at patches, in [0, 1] unless said otherwise."""
