from __future__ import annotations

import json

import pytest

from scene.errors import FormatError
from serving.protocol import parse_request


def body(value="0.5"):
    text = json.dumps(
        {"inputs": [{"name": "points", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    )
    return text.replace("4]}]", f"{value}]}}]").encode()


def test_points_are_read_with_and_without_the_length_of_the_json():
    for length in (None, str(len(body()))):
        assert parse_request(body(), length).points.tolist() == [[1.0, 2.0, 3.0, 0.5]]


@pytest.mark.parametrize("length", ["²", "٣", "9" * 5000, "-1", "", "1e2", "99999"])
def test_a_length_that_is_none_is_explained(length):
    with pytest.raises(FormatError, match="is no length within"):
        parse_request(body(), length)


@pytest.mark.parametrize("content", [body("1" + "0" * 400), b"[" * 200_000])
def test_numbers_too_large_and_lists_too_deep_are_explained(content):
    with pytest.raises(FormatError, match="not an inference request"):
        parse_request(content, None)
