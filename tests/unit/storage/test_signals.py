from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scene.errors import DataError, FormatError
from scene.recording import RecordingId
from scene.signal import Signal
from storage import layout
from storage.local import LocalStore
from storage.signals import read_signals, write_signals

NAME = RecordingId("drive")


def signal(name: str, fields: tuple[str, ...] = ("x_mps2", "y_mps2"), count: int = 5) -> Signal:
    values = np.arange(count * len(fields), dtype=np.float64).reshape(count, len(fields))
    values[0] = np.nan
    return Signal(name, "imu", "base_link", fields, np.arange(count) * 10, values)


def test_signals_come_back_as_they_were(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    written = [signal("/imu/data"), signal("observation.state", ("hip_rad",), 3), signal("z", ())]
    write_signals(store, NAME, written)
    found = read_signals(store, NAME)
    assert [s.name for s in found] == ["/imu/data", "observation.state", "z"]
    for ours, theirs in zip(found, written, strict=True):
        assert (ours.kind, ours.frame, ours.fields) == (theirs.kind, theirs.frame, theirs.fields)
        np.testing.assert_array_equal(ours.timestamps_ns, theirs.timestamps_ns)
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_writing_again_forgets_what_is_gone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_signals(store, NAME, [signal("a"), signal("b")])
    write_signals(store, NAME, [signal("b")])
    assert [s.name for s in read_signals(store, NAME)] == ["b"]
    write_signals(store, NAME, [])
    assert read_signals(store, NAME) == []


def test_two_signals_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="appears twice"):
        write_signals(LocalStore(tmp_path), NAME, [signal("a/b"), signal("a/b")])
    with pytest.raises(DataError, match="appears twice"):
        write_signals(LocalStore(tmp_path), NAME, [signal("a", ("x_m", "x_m"))])


def test_names_spelt_alike_do_not_overwrite_each_other(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    names = ["/imu/data", "/imu_data", "imu data", "x" * 130 + "1", "x" * 130 + "2"]
    write_signals(store, NAME, [signal(name, count=i + 1) for i, name in enumerate(names)])
    found = {s.name: len(s.timestamps_ns) for s in read_signals(store, NAME)}
    assert found == {name: i + 1 for i, name in enumerate(names)}


def test_another_file_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put(layout.signal(NAME, "a"), b"PAR1 no")
    with pytest.raises(FormatError, match="not a Starloop signal file"):
        read_signals(store, NAME)
