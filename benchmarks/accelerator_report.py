"""Rows and profiles of `benchmarks.accelerator`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch


@dataclass(slots=True)
class Report:
    """Figures, and rows for people that are printed as soon as their figures are known.

    Attributes:
        figures: by name.
        out: where they are written as JSON each time.
    """

    figures: dict[str, Any]
    out: Path | None = None
    _told: set[str] = field(default_factory=set)

    def tell(self) -> None:
        """Print the rows that can be printed and were not yet."""
        for name, text in _ROWS.items():
            if name in self._told:
                continue
            try:
                value = text.format_map(self.figures)
            except KeyError:
                continue
            self._told.add(name)
            print(f"{name:<34} {value}", flush=True)
        if self.out:
            self.out.write_text(json.dumps(self.figures, indent=1))


_ROWS: Final = {
    "device": "{device}, torch {torch}",
    "peak, measured": "{peak_tflops:.1f} TFLOP/s {peak_dtype}",
    "batch": "{batch_size} frames of {points_per_frame:,.0f} points",
    "arithmetic": "{gflop_per_sample:.1f} GFLOP a sample, forward and backward",
    "loader alone": (
        "{store_samples_per_s:.0f} samples/s from the store, "
        "{cache_samples_per_s:.0f} from the cache"
    ),
    "step, batch on the device": "{step_ms:.1f} ms, {samples_per_s:.1f} samples/s, MFU {mfu:.1%}",
    "step, host alone": "{host_step_ms:.1f} ms until the device has been told everything",
    "points and targets on the device": (
        "{prepare_ms:.1f} ms a batch, {host_prepare_ms:.1f} ms of them on the host"
    ),
    "step with the loader": (
        "{loaded_step_ms:.1f} ms, {loaded_samples_per_s:.1f} samples/s, MFU {loaded_mfu:.1%}"
    ),
    "wait for data": "{data_wait_share:.1%} of the time",
    "slower than from the device by": (
        "{feeding_share:.1%} (wait, copies, points and targets on the device)"
    ),
    "peak memory": "{peak_memory_gib:.1f} GiB",
    "ours, from raw batches": "{ours_step_ms:.1f} ms",
    "padded, float32": "{padded_step_ms:.1f} ms: {times_faster_than_padded:.2f} times ours",
    "padded, TF32": "{padded_tf32_step_ms:.1f} ms: {times_faster_than_padded_tf32:.2f} times ours",
    "padded, float32, beside the loader": "{loaded_times_faster_than_padded:.2f} times ours",
}


def profile(device: torch.device, count: int, **actions: Callable[[int], object]) -> str:
    """Return the operations that took most of the device's time, by action.

    Args:
        device: where they run.
        count: how often each action is done.
        actions: by name; each gets the number of the turn.
    """
    kinds = [torch.profiler.ProfilerActivity.CPU]
    key = "self_cpu_time_total"
    if device.type == "cuda":
        kinds, key = [torch.profiler.ProfilerActivity.CUDA], "self_cuda_time_total"
    told = []
    for name, action in actions.items():
        with torch.profiler.profile(activities=kinds) as found:
            for i in range(count):
                action(i)
            if device.type != "cpu":
                torch.accelerator.synchronize()
        rows = found.key_averages().table(sort_by=key, row_limit=30, max_name_column_width=60)
        told.append(f"{count} {name}\n{rows}")
    return "\n".join(told)
