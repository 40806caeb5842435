"""Where the training runs: an accelerator when there is one, else the processor."""

from __future__ import annotations

import os
from functools import lru_cache

import torch
from torch import Tensor

from training.config import TrainConfig


def choose_device() -> torch.device:
    """Return the accelerator that torch sees, or the CPU."""
    if torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        if found is not None:
            return found
    return torch.device("cpu")


def describe_device(device: torch.device) -> str:
    """Return a name for people, such as "cpu (2 threads)" or "cuda (NVIDIA H200)"."""
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return f"{device.type} ({name})" if name else device.type


def set_threads(config: TrainConfig, device: torch.device, workers: int = 1) -> int:
    """Give torch the threads that the settings name, shared among workers; return how many.

    Bfloat16 on a processor runs on one thread whatever the settings say: oneDNN's kernels wait for
    each other by spinning, and on a busy machine two threads were measured 12 times slower than
    one, while one with matrix units beats two without.
    """
    threads = config.num_threads or min(8, len(os.sched_getaffinity(0)))
    threads = max(1, threads // workers)
    if device.type == "cpu" and compute_dtype(config, device) == torch.bfloat16:
        threads = 1
    torch.set_num_threads(threads)
    return threads


def compute_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Return the type of the convolutions while training.

    On a processor bfloat16 pays only where it is multiplied in hardware (AMX, 3.5 times faster
    here); elsewhere it is emulated and slower than float32.
    """
    if config.precision == "float32":
        return torch.float32
    if config.precision == "bfloat16":
        return torch.bfloat16
    if device.type == "cpu":
        return torch.bfloat16 if has_bfloat16_units() else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.float32


def has_bfloat16_units() -> bool:
    """Tell whether the processor has matrix units for bfloat16 (Intel AMX)."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return " amx_bf16" in file.read()
    except OSError:
        return False


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return numbers as a tensor on the device; made once.

    Making a tensor of host numbers on an accelerator waits for everything queued there.
    """
    return torch.tensor(values, dtype=dtype, device=device)


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy many tensors at once, which costs far less than one after the other."""
    torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]
