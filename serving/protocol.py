"""Open Inference Protocol v2: requests and answers as bytes, JSON or with the binary extension.

The model speaks the ONNX contract: `points` FP32 (N, 4) in; `boxes` FP32 (K, 9), `scores` FP32 (K,)
and `labels` INT64 (K,) out. The same file in another server of this protocol answers the same.

Source: kserve/open-inference-protocol, `inference_rest.md`; binary extension of Triton,
`extension_binary_data.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scene.errors import FormatError
from scene.types import Float32
from serving.detector import OnnxDetector

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
MODEL_NAME: Final = "detector"
OUTPUTS: Final = {"boxes": "FP32", "scores": "FP32", "labels": "INT64"}
_DTYPES: Final = {"FP32": "<f4", "INT64": "<i8"}
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One inference request.

    Attributes:
        points: (N, 4) float32, N >= 1.
        request_id: given back in the answer; may be empty.
        outputs: name to whether it is wanted as binary, in the order asked for.
    """

    points: Float32
    request_id: str = ""
    outputs: Mapping[str, bool] = field(default_factory=lambda: dict.fromkeys(OUTPUTS, False))


def server_metadata(version: str) -> dict[str, Any]:
    """Return the answer to `GET /v2`."""
    return {"name": "starloop", "version": version, "extensions": ["binary_tensor_data"]}


def model_metadata(detector: OnnxDetector) -> dict[str, Any]:
    """Return the answer to `GET /v2/models/detector`; the version is the model id."""
    return {
        "name": MODEL_NAME,
        "versions": [detector.model_id],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "points", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "boxes", "datatype": "FP32", "shape": [-1, 9]},
            {"name": "scores", "datatype": "FP32", "shape": [-1]},
            {"name": "labels", "datatype": "INT64", "shape": [-1]},
        ],
        "parameters": {
            "digest": detector.digest,
            "categories": list(detector.categories),
            "region_m": list(detector.region),
            "score_threshold": detector.score_threshold,
        },
    }


def parse_request(body: bytes, header_length: str | None) -> InferRequest:
    """Read a request.

    Args:
        body: JSON, or JSON followed by binary tensors.
        header_length: value of the `Inference-Header-Content-Length` header, None without it.

    Raises:
        FormatError: if it does not follow the protocol or the ONNX contract.
    """
    text, binary = _split(body, header_length)
    try:
        content = json.loads(text)
        (tensor,) = content["inputs"]
        outputs = _wanted(content)
        request_id = str(content.get("id", ""))
        points = _read_points(tensor, binary)
    except FormatError:
        raise
    except (
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise FormatError(
            f"not an inference request with the one input `points`: {error!r}"
        ) from error
    return InferRequest(points, request_id, outputs)


def encode_answer(
    request: InferRequest, results: Mapping[str, np.ndarray], model_id: str
) -> tuple[bytes, int | None]:
    """Return the body of an answer and the length of its JSON part (None if all of it is JSON)."""
    outputs, chunks = [], []
    for name, as_binary in request.outputs.items():
        datatype = OUTPUTS[name]
        values = np.ascontiguousarray(results[name], dtype=_DTYPES[datatype])
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        if as_binary:
            chunks.append(values.tobytes())
            tensor["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            tensor["data"] = values.ravel().tolist()
        outputs.append(tensor)
    answer: dict[str, Any] = {
        "model_name": MODEL_NAME,
        "model_version": model_id,
        "outputs": outputs,
    }
    if request.request_id:
        answer["id"] = request.request_id
    header = json.dumps(answer).encode()
    return header + b"".join(chunks), len(header) if chunks else None


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not _LENGTH.fullmatch(header_length) or int(header_length) > len(body):
        raise FormatError(
            f"{HEADER_LENGTH}: {header_length!r} is no length within {len(body)} bytes"
        )
    return body[: int(header_length)], body[int(header_length) :]


def _read_points(tensor: Mapping[str, Any], binary: bytes) -> Float32:
    name, datatype, shape = tensor["name"], tensor["datatype"], list(tensor["shape"])
    if name != "points" or datatype != "FP32":
        raise FormatError(f"input {name!r} of type {datatype}: expected `points` of type FP32")
    if len(shape) != 2 or shape[1] != 4 or not isinstance(shape[0], int) or shape[0] < 1:
        raise FormatError(f"input points has shape {shape}; expected [N, 4] with N >= 1")
    size = tensor.get("parameters", {}).get("binary_data_size")
    if size is None:
        if binary:
            raise FormatError("binary data follows, but input points names no binary_data_size")
        values = np.asarray(tensor["data"], dtype=np.float32).ravel()
    elif size != len(binary):
        raise FormatError(f"binary_data_size is {size}, but {len(binary)} bytes follow the JSON")
    elif size % 4:
        raise FormatError(f"binary_data_size {size} is not a whole number of FP32 values")
    else:
        values = np.frombuffer(binary, dtype="<f4").astype(np.float32)
    if len(values) != shape[0] * 4:
        raise FormatError(f"input points has shape {shape}, but {len(values)} values came")
    points = values.reshape(-1, 4)
    if not np.isfinite(points).all():
        raise FormatError("input points holds values that are not finite; leave such points out")
    return points


def _wanted(content: Mapping[str, Any]) -> dict[str, bool]:
    """Return which outputs are asked for and whether as binary; all if none is named."""
    all_binary = bool(content.get("parameters", {}).get("binary_data_output", False))
    asked: Sequence[Mapping[str, Any]] = content.get("outputs") or [{"name": n} for n in OUTPUTS]
    wanted = {
        output["name"]: bool(output.get("parameters", {}).get("binary_data", all_binary))
        for output in asked
    }
    if unknown := sorted(set(wanted) - set(OUTPUTS)):
        raise FormatError(f"outputs {unknown} do not exist; there are {list(OUTPUTS)}")
    return wanted
