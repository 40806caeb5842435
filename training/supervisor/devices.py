"""Errors that devices report about themselves."""

from __future__ import annotations

import contextlib
from typing import Any, Final, Protocol

_EVERY_S: Final = 1.0


class DeviceWatch(Protocol):
    """Somebody who knows the health of devices."""

    def faulty(self) -> list[tuple[int, str]]:
        """Return device index and what it reports, for devices that are newly broken."""
        ...


class NoDeviceWatch:
    """Devices that report nothing, such as processors."""

    def faulty(self) -> list[tuple[int, str]]:
        """Return nothing."""
        return []


class NvmlWatch:
    """Uncorrectable memory errors that NVIDIA's driver counts since it was loaded.

    Args:
        nvml: the module `pynvml`.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
        self._before = [self._errors(handle) for handle in self._handles]

    def faulty(self) -> list[tuple[int, str]]:
        """Return devices whose count rose, or that the driver lost."""
        found = []
        for index, handle in enumerate(self._handles):
            try:
                now = self._errors(handle)
            except self._nvml.NVMLError as error:
                found.append((index, f"the driver does not answer for it: {error}"))
                continue
            if now > self._before[index]:
                found.append((index, f"{now - self._before[index]} uncorrectable memory errors"))
            self._before[index] = now
        return found

    def _errors(self, handle: Any) -> int:
        """Return uncorrectable ECC errors, 0 for a device without ECC."""
        nvml = self._nvml
        try:
            return nvml.nvmlDeviceGetTotalEccErrors(
                handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            )
        except nvml.NVMLError_NotSupported:
            return 0


def open_device_watch() -> DeviceWatch:
    """Return a watch over the accelerators of this machine, if `nvidia-ml-py` is installed."""
    with contextlib.suppress(ImportError):
        import pynvml  # pyright: ignore[reportMissingImports]

        with contextlib.suppress(pynvml.NVMLError):
            return NvmlWatch(pynvml)
    return NoDeviceWatch()
