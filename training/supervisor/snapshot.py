"""Snapshots of a training in memory that outlives its workers: two slots, written in turn."""

from __future__ import annotations

import json
import mmap
import os
from typing import Any, Final

import numpy as np
import torch
from isal import isal_zlib
from torch import Tensor

from scene.errors import TrainError
from training.checkpoint import Checkpoint
from training.device import copy_all

_HEAD: Final = np.dtype(
    [("sequence", np.uint64), ("step", np.int64), ("body", np.int64), ("text", np.int64),
     ("crc", np.int64)]
)  # fmt: skip
_PAGE: Final = 4096
_ALIGN: Final = 64
_GROWTH: Final = 6  # weights, two moments, an average, and room
_TEXT_ROOM: Final = 1 << 24


def room_for(tensors: dict[str, Tensor]) -> int:
    """Return bytes to set aside for snapshots of a training that begins with these tensors.

    Memory that is never written costs nothing.
    """
    return _GROWTH * sum(t.nbytes + _ALIGN for t in tensors.values()) + _TEXT_ROOM


class Snapshots:
    """Two slots in shared memory. A slot counts once its sequence number is written, last of all.

    One process writes, others may read at any time: a reader takes the newest slot whose checksum
    holds, so a writer killed in the middle leaves the older snapshot.
    """

    def __init__(self, file: int, room: int) -> None:
        """Map the memory.

        Args:
            file: descriptor of a memory file, kept by the caller.
            room: bytes of one slot, see `room_for`.
        """
        self._room = -(-room // _PAGE) * _PAGE
        size = _PAGE + 2 * self._room
        if os.fstat(file).st_size < size:
            os.ftruncate(file, size)
        self._memory = mmap.mmap(file, size)
        self._heads = np.frombuffer(self._memory, _HEAD, 2)
        self._slots = [
            np.frombuffer(self._memory, np.uint8, self._room, _PAGE + i * self._room)
            for i in range(2)
        ]
        self._views: list[list[Tensor]] = []
        self._entries: list[tuple[str, str, list[int], int]] = []
        self._known: list[tuple[str, int]] = []
        self._off_host = False
        self._told = "[]"
        self._body = 0

    def write(self, step: int, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Write into the older slot.

        Raises:
            TrainError: if it does not fit.
        """
        old = int(np.argmin(self._heads["sequence"]))
        sequence = int(self._heads["sequence"].max()) + 1
        self._lay_out(tensors)
        text = f'{{"progress": {json.dumps(progress)}, "entries": {self._told}}}'.encode()
        if self._body + len(text) > self._room:
            raise TrainError(
                f"a snapshot of {self._body + len(text)} bytes exceeds the {self._room} set aside"
            )
        head, slot = self._heads[old : old + 1], self._slots[old]
        head["sequence"] = 0
        with torch.no_grad():
            copy_all(self._views[old], list(tensors.values()))
        if self._off_host:
            torch.accelerator.synchronize()
        slot[self._body : self._body + len(text)] = np.frombuffer(text, np.uint8)
        head["step"], head["body"], head["text"] = step, self._body, len(text)
        head["crc"] = isal_zlib.crc32(slot[: self._body + len(text)])
        head["sequence"] = sequence  # from here on it counts

    def newest(self) -> Checkpoint | None:
        """Return a copy of the newest whole snapshot, or None."""
        for _ in range(8):  # a writer may overtake a reader
            for index in np.argsort(self._heads["sequence"])[::-1]:
                found = self._read(int(index))
                if found is not None:
                    return found
        return None

    def demand(self) -> Checkpoint:
        """Return a copy of the newest whole snapshot.

        Raises:
            TrainError: if there is none.
        """
        found = self.newest()
        if found is None:
            raise TrainError("no whole snapshot is left in memory")
        return found

    @property
    def step(self) -> int:
        """Step of the newest snapshot, -1 for none; not checked for wholeness."""
        newest = self._heads[int(np.argmax(self._heads["sequence"]))]
        return int(newest["step"]) if newest["sequence"] else -1

    def _read(self, index: int) -> Checkpoint | None:
        head = self._heads[index].copy()
        size = int(head["body"] + head["text"])
        if not head["sequence"] or not 0 < size <= self._room:
            return None
        data = bytearray(self._slots[index][:size])
        if isal_zlib.crc32(data) != head["crc"]:
            return None
        text = json.loads(bytes(data[int(head["body"]) :]))
        tensors = {
            name: torch.frombuffer(
                data, dtype=getattr(torch, dtype), count=int(np.prod(shape)), offset=offset
            ).view(shape)
            for name, dtype, shape, offset in text["entries"]
        }
        return Checkpoint(int(head["step"]), tensors, text["progress"])

    def _lay_out(self, tensors: dict[str, Tensor]) -> None:
        """Make a place for each tensor in both slots, unless they are the same as before."""
        known = [(name, tensor.data_ptr()) for name, tensor in tensors.items()]
        if known == self._known:  # the same memory: nothing changed its shape
            return
        self._known = known
        self._off_host = any(t.device.type != "cpu" for t in tensors.values())
        named = [(n, str(t.dtype)[6:], list(t.shape)) for n, t in tensors.items()]
        self._entries, offset = [], 0
        for (name, dtype, shape), tensor in zip(named, tensors.values(), strict=True):
            self._entries.append((name, dtype, shape, offset))
            offset += -(-tensor.nbytes // _ALIGN) * _ALIGN
        self._body, self._told = offset, json.dumps(self._entries)
        if offset > self._room:
            raise TrainError(f"a snapshot of {offset} bytes exceeds the {self._room} set aside")
        self._views = [
            [
                torch.frombuffer(
                    self._memory, dtype=t.dtype, count=t.numel(),
                    offset=_PAGE + i * self._room + entry[3],
                ).view(t.shape)
                for entry, t in zip(self._entries, tensors.values(), strict=True)
            ]
            for i in range(2)
        ]  # fmt: skip
