"""Real recordings beside the checkout. Tests that need them skip with a reason elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def shared_data(relative: str) -> Path:
    """Return a path under the shared recordings, or skip the test."""
    path = ROOT / relative
    if not path.exists():
        pytest.skip(f"real recording not here: ../shared/data/{relative}")
    return path
