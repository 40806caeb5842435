from __future__ import annotations

import gzip
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.datasets.inert_pickle import Made, read_pickle
from recordings.datasets.pandas_pickle import frame_columns, read_frame
from scene.errors import FormatError
from tests.support.frame_pickle import Call, Global, dumps, old_frame, write_frame

COLUMNS = {
    "x": np.array([1.5, np.nan, -2.0]),
    "label": np.array(["Car", "Bus", None], dtype=object),
    "n": np.array([1, 2**40, -3]),
    "y": np.array([0.25, 1e300, np.inf]),
    "flag": np.array([True, False, True]),
    "half": np.array([1, 2, 3], dtype=np.float32),
}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert sorted(found) == sorted(expected)
    for name, column in expected.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize("suffix", ["pkl", "pkl.gz"])
def test_a_frame_of_old_pandas(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"00.{suffix}"
    write_frame(path, COLUMNS)
    assert_equal(read_frame(path, ("x", "label")), COLUMNS)
    with pytest.raises(FormatError, match="no column z; columns: x, y, label"):
        read_frame(path, ("x", "z"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_frames_that_pandas_writes(tmp_path: Path, protocol: int) -> None:
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    frame = pandas.DataFrame({n: pandas.Series(c, dtype=c.dtype) for n, c in COLUMNS.items()})
    frame.columns = pandas.Index(list(COLUMNS), dtype=object)
    path = tmp_path / "00.pkl"
    frame.to_pickle(path, protocol=protocol)
    assert_equal(read_frame(path, ()), COLUMNS)


def test_pandas_reads_what_the_tests_write_as_a_frame_of_old_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    path = tmp_path / "00.pkl"
    write_frame(path, COLUMNS)
    frame = pandas.read_pickle(path)
    for name, column in read_frame(path, ()).items():
        np.testing.assert_array_equal(column, frame[name].to_numpy())


def test_columns_of_other_kinds_are_left_out(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    frame = pandas.DataFrame({"x": [1.0, 2.0]})
    frame["when"] = pandas.to_datetime(["2020-01-01", "2020-01-02"])
    frame["kind"] = pandas.Categorical(["a", "b"])
    frame.columns = pandas.Index(list(frame.columns), dtype=object)
    path = tmp_path / "00.pkl"
    frame.to_pickle(path)
    assert list(read_frame(path, ())) == ["x"]


class Attack:
    """Would run a command when unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def test_a_malicious_pickle_runs_nothing(tmp_path: Path) -> None:
    sign = tmp_path / "ran"
    attacks = [
        Attack(os.system, f"touch {sign}"),
        Attack(exec, f"open({str(sign)!r}, 'w')"),
        Attack(eval, f"open({str(sign)!r}, 'w')"),
        Attack(os.mkdir, str(sign)),
    ]
    for attack in attacks:
        for hidden in (attack, [attack], {"a": (attack,)}):
            path = tmp_path / "00.pkl"
            path.write_bytes(pickle.dumps(hidden))
            with pytest.raises(FormatError, match="not a pandas frame; nothing of it was run"):
                read_frame(path, ())
            assert not sign.exists()
    # The same bytes do run where they are unpickled.
    pickle.loads(pickle.dumps(attacks[3]))
    assert sign.exists()


def test_a_malicious_call_inside_a_frame_runs_nothing(tmp_path: Path) -> None:
    sign = tmp_path / "ran"
    frame = old_frame(COLUMNS)
    frame.state["_data"].state[3]["0.14.1"]["blocks"][0]["values"] = Call(
        Global("os", "system"), (f"touch {sign}",)
    )
    found = frame_columns(read_pickle(dumps(frame), "x"), "x")
    assert not sign.exists()
    assert "label" in found  # that block is left out, as one of a foreign type
    assert "x" not in found
    made = read_pickle(dumps(Call(Global("os", "system"), ("true",))), "x")
    assert isinstance(made, Made)
    assert (made.name, made.args) == ("os.system", ("true",))


def test_pickles_made_to_exhaust_are_refused_quickly() -> None:
    nested = b"\x80\x04)" + b"2\x86" * 300  # a tuple of itself twice, 300 times
    huge = Call(
        Global("numpy.core.multiarray", "_reconstruct"), (),
        (1, (2**30, 2**30), Call(Global("numpy", "dtype"), ("f8",), (3, "<")), False, b""),
    )  # fmt: skip
    frame = old_frame({"x": COLUMNS["x"]})
    frame.state["_data"].state[3]["0.14.1"]["blocks"][0]["values"] = huge
    start = time.monotonic()
    for data in (
        nested + b"}" + nested[2:] + b"Ns.",  # as a key
        nested + b"X\x01\0\0\0a\x93.",  # as a name
        b"\x80\x04r\xff\xff\xff\xff.",  # a memo of 2^32 places
        b"\x80\x04\x96" + b"\xff" * 7 + b"\x0f.",  # 2^60 bytes
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0f.",
        b"\x80\x04Pid.",
        dumps(frame),
        nested + b".",
    ):
        with pytest.raises(FormatError):
            frame_columns(read_pickle(data, "x"), "x")
    assert time.monotonic() - start < 2


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=4), st.booleans())
def test_only_our_errors_escape_from_damaged_pickles(at: int, junk: bytes, cut: bool) -> None:
    data = dumps(old_frame(COLUMNS))
    at %= len(data)
    damaged = data[:at] if cut else data[:at] + junk + data[at + len(junk) :]
    try:
        frame_columns(read_pickle(damaged, "x"), "x")
    except FormatError as error:
        assert str(error).startswith("x: ")  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(FormatError):
        frame_columns(read_pickle(data, "x"), "x")


def test_a_broken_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "00.pkl.gz"
    whole = gzip.compress(dumps(old_frame(COLUMNS)))
    for data in (whole[:-30], whole[:20], whole[:30] + b"\0" * 20 + whole[50:], b"\x1f\x8b"):
        path.write_bytes(data)
        with pytest.raises(FormatError):
            read_frame(path, ())
