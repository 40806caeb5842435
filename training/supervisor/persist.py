"""Snapshots to the object store, from a process that no step waits for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from scene.errors import StoreError
from storage.store import ObjectStore
from training.checkpoint import save_checkpoint
from training.supervisor.board import Board
from training.supervisor.snapshot import Snapshots

_LOG: Final = logging.getLogger(__name__)
_POLL_S: Final = 0.1
_FIRST_RETRY_S: Final = 0.2
_LAST_RETRY_S: Final = 5.0
_FINAL_RETRY_S: Final = 1.0
_SLOW_WRITE_S: Final = 1.0


def persist(
    board: Board, snapshots: Snapshots, open_store: Callable[[], ObjectStore], run: str, every: int
) -> int:
    """Write a checkpoint whenever one is due, until the final one is asked for and written.

    Memory does not grow while the store is away: what is written next is always the newest
    snapshot, of which there is one copy here.

    Args:
        board: says what was written, and asks for the end.
        snapshots: where the training is copied to.
        open_store: makes the connection; tried again like a write.
        run: name of the training.
        every: steps between checkpoints.
    """
    control = board.control[0]
    store: ObjectStore | None = None
    retry_s = 0.0
    while True:
        final = bool(control["final"])
        step = snapshots.step
        due = step // every > int(control["persisted"]) // every or final
        if not due or step <= int(control["persisted"]):
            control["safe_ns"] = time.monotonic_ns()
            if final:
                return 0
            time.sleep(_POLL_S)
            continue
        if retry_s:
            _rest(control, retry_s)
        try:
            store = store or open_store()
            _write(board, snapshots, store, run)
        except (StoreError, OSError) as error:
            control["persist_failures"] += 1
            _LOG.warning("checkpoint after step %d not written: %s", step, error)
            retry_s = min(max(2 * retry_s, _FIRST_RETRY_S), _LAST_RETRY_S)
        else:
            retry_s = 0.0
            control["persist_failures"] = 0
            control["safe_ns"] = time.monotonic_ns()


def _rest(control: object, seconds: float) -> None:
    """Wait before another try; a final write does not wait long."""
    now = time.monotonic()
    end, final_end = now + seconds, now + min(seconds, _FINAL_RETRY_S)
    while time.monotonic() < (final_end if control["final"] else end):  # type: ignore[index]
        time.sleep(_POLL_S)


def _write(board: Board, snapshots: Snapshots, store: ObjectStore, run: str) -> None:
    """Write the newest snapshot."""
    fault = int(board.control[0]["storage_fault"])
    if fault == 1:
        time.sleep(_SLOW_WRITE_S)
    elif fault == 2:
        raise StoreError("chaos: the object store is away")
    checkpoint = snapshots.newest()
    if checkpoint is not None:
        save_checkpoint(store, run, checkpoint)
        board.control[0]["persisted"] = checkpoint.step
