"""Images of a clip: those in the bucket, and those that were left where they landed."""

from __future__ import annotations

import pytest

from labeling.clip_images import read_image
from scene.errors import NotFoundError
from scene.image import Image
from scene.recording import RecordingId
from storage import layout
from storage.images import write_images
from storage.local import LocalStore

NAME = RecordingId("drive")


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path)
    images = [
        Image("front", 10, "jpeg", b"in the bucket"),
        Image("front", 20, "png", None, "cameras/front/20.png"),
        Image("front", 30, "h264", None, "video.mp4", 3),
    ]
    write_images(store, layout.images(NAME), images)
    return store


def test_an_image_in_the_bucket(store):
    assert read_image(store, NAME, "front", 10) == (b"in the bucket", "image/jpeg")


def test_an_image_that_was_left_where_it_landed(store):
    landed = {(NAME, "cameras/front/20.png"): b"landed"}

    def read(recording, uri):
        return landed.get((recording, uri))

    assert read_image(store, NAME, "front", 20, read) == (b"landed", "image/png")
    landed.clear()
    with pytest.raises(NotFoundError, match="no image of 'front' at 20 ns"):
        read_image(store, NAME, "front", 20, read)


@pytest.mark.parametrize(("camera", "time"), [("front", 20), ("front", 30), ("rear", 10)])
def test_what_cannot_be_shown(store, camera, time):
    with pytest.raises(NotFoundError, match=f"no image of '{camera}' at {time} ns"):
        read_image(store, NAME, camera, time)
