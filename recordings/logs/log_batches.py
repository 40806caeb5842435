"""Small messages of a block taken together, a topic at a time; see `recordings.logs.batches`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.logs.batches import Batch
from recordings.logs.log_file import LogFile, Rows
from recordings.logs.mcap_file import McapFile
from recordings.logs.messages import PoseMessage, SignalMessage, TransformMessage
from recordings.recording import Damage
from scene.types import Float64, Int64

if TYPE_CHECKING:
    from recordings.logs.log_scan import Scan, Stream

_FEWEST: Final = 4  # messages of a topic in a block that are worth reading together


def messages(
    scan: Scan,
    file: LogFile,
    block: Any,
    by_id: dict[int, Stream],
    damage: list[Damage],
    *,
    sound: bool,
) -> Iterable[tuple[int, int, memoryview]]:
    """Yield the messages that have to be looked at one by one; takes the others at once.

    Args:
        scan: what they belong to.
        file: the log.
        block: a part of it.
        by_id: topics by channel of the file.
        damage: what cannot be read is noted here.
        sound: whether nothing was lost just before; else the first message has to be seen.
    """
    rows = file.rows(block, damage) if sound and isinstance(file, McapFile) else None
    if rows is None:
        yield from file.messages(block, damage)
        return
    alone = np.ones(len(rows.starts), dtype=bool)
    for channel_id, count in enumerate(np.bincount(rows.channel_ids)):
        if count < _FEWEST:
            continue
        stream = scan.stream_of(file, channel_id, by_id)
        chosen = rows.channel_ids == channel_id
        if _take_batch(scan, stream, rows, chosen):
            alone &= ~chosen
    for i in np.flatnonzero(alone):
        at = slice(int(rows.starts[i]), int(rows.ends[i]))
        yield int(rows.channel_ids[i]), int(rows.log_times_ns[i]), block.records[at]
    if len(rows.log_times_ns):
        scan.last_ns = int(rows.log_times_ns[-1])


def _take_batch(scan: Scan, stream: Stream, rows: Rows, chosen: NDArray[np.bool_]) -> bool:
    """Take messages of one topic at once; False if they must be read one by one."""
    reader = stream.decoder.batches
    if reader is None:
        return False
    starts = rows.starts[chosen]
    lengths, times = rows.ends[chosen] - starts, rows.log_times_ns[chosen]
    found = reader.read(Batch(rows.data, starts, lengths, times))
    if found is None:
        return False
    stream.count += len(starts)
    for decoded in found:
        for item in decoded.items:
            _PUT_ALL[type(item)](scan, stream, item, decoded.log_times_ns)
    return True


def _transforms(scan: Scan, stream: Stream, item: Any, log_times_ns: Int64) -> None:
    by_topic = scan.moving.setdefault((item.parent, item.child), {})
    samples = by_topic.setdefault(stream.topic, [])
    samples.extend(zip(_stamps(item, log_times_ns), _tuples(item.pose), strict=True))


def _poses(scan: Scan, stream: Stream, item: Any, log_times_ns: Int64) -> None:
    frames = repeat(item.frame, len(log_times_ns))
    poses = zip(frames, _stamps(item, log_times_ns), _tuples(item.pose), strict=True)
    scan.loose.setdefault(stream.topic, []).extend(poses)


def _signals(_scan: Scan, stream: Stream, item: Any, log_times_ns: Int64) -> None:
    if stream.signal is None:
        first = tuple(float(values[0]) for values in item.values)
        stream.signal = item._replace(stamp_ns=int(item.stamp_ns[0]), values=first)
    stream.stamps_ns.extend(_stamps(item, log_times_ns))
    stream.rows.append(np.column_stack(item.values))


_PUT_ALL: Final[dict[type[Any], Callable[[Scan, Stream, Any, Int64], None]]] = {
    TransformMessage: _transforms,
    PoseMessage: _poses,
    SignalMessage: _signals,
}


def _stamps(item: Any, log_times_ns: Int64) -> list[int]:
    """Return the stamps of (K,) messages, for those without one when they were logged."""
    return np.where(item.stamp_ns == 0, log_times_ns, item.stamp_ns).tolist()


def _tuples(columns: Sequence[Float64]) -> Iterable[Any]:
    """Return (K,) rows of plain numbers."""
    return zip(*(column.tolist() for column in columns), strict=True)
