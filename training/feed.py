"""Batches reach an accelerator beside its work: copies and point operations on a second stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

_T = TypeVar("_T")
_B = TypeVar("_B")


class _Fed(NamedTuple, Generic[_T]):
    """What was prepared, and when the device will have finished preparing it."""

    prepared: _T
    done: torch.Event | None


class Feed(Generic[_B, _T]):
    """Prepares batches on a stream of their own; a step waits on the device, not on the host.

    On a processor it only passes calls on. Use `prepare` where batches are made (any thread) and
    `take` where a step begins.
    """

    def __init__(self, prepare: Callable[[_B], _T], device: torch.device) -> None:
        self._prepare = prepare
        self._stream = None if device.type == "cpu" else torch.Stream(device=device)

    def prepare(self, batch: _B) -> _Fed[_T]:
        """Begin to prepare a batch; returns before an accelerator has done so."""
        if self._stream is None:
            return _Fed(self._prepare(batch), None)
        with self._stream:
            prepared = self._prepare(batch)
            return _Fed(prepared, self._stream.record_event())

    def take(self, fed: _Fed[_T]) -> _T:
        """Return what was prepared, for use by the current stream."""
        if fed.done is not None:
            current = torch.accelerator.current_stream()
            current.wait_event(fed.done)
            for tensor in tensors_of(fed.prepared):
                # Its memory belongs to the other stream: it must not be reused there too early.
                tensor.record_stream(current)
        return fed.prepared


_NESTED: Final = (tuple, list)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, _NESTED):
        for part in value:
            yield from tensors_of(part)
