"""The files that the editor's tests agree with are what the Python code says today."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from tests.support.editor_golden import GOLDEN, codec_cases, decoded, geometry

pytest.importorskip("shapely")
HOW = "python -m tests.support.editor_golden writes them anew"


def test_kept_sweeps_are_still_read_the_same() -> None:
    kept = json.loads((GOLDEN / "codec.json").read_text())
    assert set(kept) == set(codec_cases()), HOW
    for name, case in kept.items():
        assert decoded(base64.b64decode(case["bytes"])) == case, f"{name}: {HOW}"


def test_kept_geometry_is_still_computed_the_same() -> None:
    kept, now = json.loads((GOLDEN / "geometry.json").read_text()), geometry()
    assert set(kept) == set(now), HOW
    for name in ("corners_bev_m", "bev_iou", "wrapped_rad"):
        np.testing.assert_allclose(kept[name], now[name], atol=1e-9, err_msg=HOW)
    assert kept["inside"] == now["inside"], HOW
    for name in ("center_xyz_m", "yaw_rad"):
        np.testing.assert_allclose(kept["moved"][name], now["moved"][name], atol=1e-9)
