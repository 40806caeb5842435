from __future__ import annotations

import io

import numpy as np
import pytest

from scene.errors import FormatError
from serving.clouds import read_cloud


def test_json_too_deep_to_be_read_is_explained():
    with pytest.raises(FormatError, match="JSON body must be"):
        read_cloud(b"[" * 200_000, "application/json")


def test_an_array_larger_than_any_memory_is_explained():
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**13, 4)}
    np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(FormatError, match="cannot be read"):
        read_cloud(file.getvalue(), "")
