"""The categories that a training's time is told in. Imports nothing, so that pages may too."""

from __future__ import annotations

from typing import Final

CATEGORIES: Final = {
    "productive_s": "productive",
    "init_s": "init",
    "data_s": "data",
    "checkpoint_s": "checkpoint",
    "restart_s": "restart",
    "wasted_s": "wasted steps",
    "other_s": "other",
}
"""Field of `Goodput` to word. Source of the words: Google's ml-goodput-measurement."""
