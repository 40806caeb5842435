"""Evaluations as JSON values. Numbers for people stay readable; match arrays are packed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

import numpy as np

from scene.errors import FormatError
from scene.types import Float64, Int64
from training.evaluation.matching import Matches, Region
from training.evaluation.metrics import CategoryScore, Evaluation
from training.evaluation.resampling import Interval

FORMAT: Final = "starloop-evaluation-1"
_ARRAYS: Final = tuple(f.name for f in fields(Matches) if f.name != "category")
_SHAPED: Final = {"match": 4, "errors": 4}  # rows of the two-dimensional arrays


def evaluation_to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return plain JSON values; NaN becomes None."""
    region = evaluation.region
    return {
        "format": FORMAT,
        "categories": list(evaluation.categories),
        "region": None if region is None else asdict(region),
        "mean_ap": evaluation.mean_ap.to_dict(),
        "nds": evaluation.nds.to_dict(),
        "errors": _errors_to_dict(evaluation.errors),
        "classes": [_score_to_dict(score) for score in evaluation.classes],
        "ranges": [_score_to_dict(score) for score in evaluation.ranges],
        **{name: getattr(evaluation, name) for name in _PLAIN},
        "frame_ids": list(evaluation.frame_ids),
        "groups": list(evaluation.groups),
        "matches": [_matches_to_dict(matches) for matches in evaluation.matches],
    }


def evaluation_from_dict(content: Mapping[str, Any]) -> Evaluation:
    """Read what `evaluation_to_dict` wrote.

    Raises:
        FormatError: if the content is not an evaluation of this version.
    """
    if content.get("format") != FORMAT:
        raise FormatError(
            f"evaluation: format {content.get('format')!r}, expected {FORMAT!r}; evaluate again"
        )
    try:
        region = content["region"]
        return Evaluation(
            categories=tuple(content["categories"]),
            region=None if region is None else Region(**region),
            mean_ap=Interval.from_dict(content["mean_ap"]),
            nds=Interval.from_dict(content["nds"]),
            errors=_errors_from_dict(content["errors"]),
            classes=tuple(_score_from_dict(score) for score in content["classes"]),
            ranges=tuple(_score_from_dict(score) for score in content["ranges"]),
            **{name: content[name] for name in _PLAIN},
            frame_ids=tuple(content["frame_ids"]),
            groups=tuple(content["groups"]),
            matches=tuple(_matches_from_dict(matches) for matches in content["matches"]),
        )
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise FormatError(f"evaluation is damaged: {error!r}; evaluate again") from error


_PLAIN: Final = ("num_frames", "num_groups", "resamples", "seed", "truth_digest")


def _errors_to_dict(errors: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in errors.items()}


def _errors_from_dict(errors: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in errors.items()}


def _score_to_dict(score: CategoryScore) -> dict[str, Any]:
    by_threshold = [None if np.isnan(value) else value for value in score.ap_by_threshold]
    return asdict(score) | {
        "ap": score.ap.to_dict(),
        "ap_by_threshold": by_threshold,
        "errors": _errors_to_dict(score.errors),
    }


def _score_from_dict(content: Mapping[str, Any]) -> CategoryScore:
    by_threshold = [float("nan") if v is None else v for v in content["ap_by_threshold"]]
    return CategoryScore(
        **{
            **content,
            "ap": Interval.from_dict(content["ap"]),
            "ap_by_threshold": tuple(by_threshold),
            "errors": _errors_from_dict(content["errors"]),
        }
    )


def _matches_to_dict(matches: Matches) -> dict[str, str]:
    packed = {name: _pack(getattr(matches, name)) for name in _ARRAYS}
    return {"category": matches.category, **packed}


def _matches_from_dict(content: Mapping[str, str]) -> Matches:
    arrays = {name: _unpack(content[name], _SHAPED.get(name)) for name in _ARRAYS}
    return Matches(content["category"], **arrays)


def _pack(array: Float64 | Int64) -> str:
    """Return `<f8:` or `<i8:` and the base64 of the deflated little-endian values."""
    kind = f"<{array.dtype.kind}8"
    raw = np.ascontiguousarray(array, dtype=kind).tobytes()
    return f"{kind}:{base64.b64encode(zlib.compress(raw, 6)).decode()}"


def _unpack(text: str, rows: int | None) -> Any:
    kind, _, body = text.partition(":")
    values = np.frombuffer(zlib.decompress(base64.b64decode(body)), dtype=kind)
    values = values.astype(values.dtype.newbyteorder("="))
    return values if rows is None else np.ascontiguousarray(values.reshape(rows, -1))
