"""Array aliases. Shapes are given in the docstrings that use them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
Text = NDArray[np.str_]
Image = NDArray[np.uint8]
