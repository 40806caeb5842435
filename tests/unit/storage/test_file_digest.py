"""A file is hashed while it grows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from storage.file_digest import FileDigest


@pytest.mark.parametrize("sizes", [[], [0], [1, 2, 3], [300_000, 5_000_000, 1, 4_500_000]])
def test_it_gives_the_hash_of_everything_that_was_appended(
    tmp_path: Path, sizes: list[int]
) -> None:
    path = tmp_path / "grows"
    random = np.random.default_rng(0)
    with path.open("wb", buffering=0) as file:
        digest = FileDigest(path)
        for size in sizes:
            file.write(random.bytes(size))
            digest.advance()
        file.write(b"the end")
    data = path.read_bytes()
    assert digest.finish() == (hashlib.sha256(data).hexdigest(), len(data))


def test_it_can_be_given_up(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"half")
    digest = FileDigest(path)
    digest.advance()
    digest.close()
    with pytest.raises(RuntimeError):
        digest.finish()
