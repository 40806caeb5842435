"""Where parity tests of torch code run: the CPU always, an accelerator under the `gpu` mark."""

from __future__ import annotations

from typing import Any

import pytest

DEVICES: list[Any] = ["cpu", pytest.param("accelerator", marks=pytest.mark.gpu)]


def open_device(name: str) -> Any:
    """Return the torch device; skip where there is no accelerator."""
    import torch

    if name == "cpu":
        torch.set_num_threads(1)
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        pytest.skip("torch sees no accelerator")
    torch.set_float32_matmul_precision("highest")  # a training in the same process lowers it
    return found
