from __future__ import annotations

from pathlib import Path

import pytest

from scene.errors import FormatError
from scene.image import Image
from storage.images import read_images, write_images
from storage.local import LocalStore

KEY = "images/drive.parquet"


def test_images_come_back_in_order_and_to_the_byte(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    written = [Image("front", i, "jpeg", bytes([i % 256]) * (3 << 20)) for i in range(7)]
    written += [Image("head", 100 + i, "av1", None, "videos/head.mp4", i) for i in range(3)]
    assert write_images(store, KEY, written) == 10
    assert list(read_images(store, KEY)) == written


def test_no_images_leave_no_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_images(store, KEY, [Image("front", 1, "png", b"x")])
    assert write_images(store, KEY, []) == 0
    assert not store.exists(KEY)
    assert list(read_images(store, KEY)) == []


def test_another_file_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put(KEY, b"nothing")
    with pytest.raises(FormatError, match="not a Starloop image file"):
        list(read_images(store, KEY))
