"""Is the new model better? Paired bootstrap: both models are resampled with the same groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scene.errors import DataError
from scene.types import Float64
from training.evaluation.metrics import Evaluation
from training.evaluation.resampling import group_weights, interval, mean_known, share_not_better
from training.evaluation.scoring import detection_score, sample_categories


@dataclass(frozen=True, slots=True)
class Delta:
    """The change of one metric from one model to another.

    Attributes:
        category: a category, `mAP` or `NDS`.
        before, after: values; NaN where there is no truth.
        low, high: paired 95 % interval of after minus before; NaN where fewer than two groups
            hold truth.
        num_boxes: truth boxes behind it.
        not_better: share of the resamples in which after is at most before; NaN as the interval.
            Below 0.025 both ends of a plain percentile interval lie above zero; the interval here
            is wider, because there are few groups.
    """

    category: str
    before: float
    after: float
    low: float
    high: float
    num_boxes: int
    not_better: float = float("nan")

    @property
    def value(self) -> float:
        """After minus before."""
        return self.after - self.before

    def to_dict(self) -> dict[str, Any]:
        """Return a flat row, `value` included; None for NaN."""
        row = asdict(self) | {"value": self.value}
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Delta:
        """Read what `to_dict` wrote."""
        before, after, low, high = (
            float("nan") if row[name] is None else float(row[name])
            for name in ("before", "after", "low", "high")
        )
        share = row.get("not_better")  # comparisons made before there was one have none
        not_better = float("nan") if share is None else float(share)
        return cls(row["category"], before, after, low, high, row["num_boxes"], not_better)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one model to another on the same frames.

    Attributes:
        classes: AP, one change a category.
        mean_ap, nds: over the categories that have truth.
        truth_digest: of the frames and truth that both were evaluated on.
        num_frames, num_groups, resamples, seed: of the bootstrap.
    """

    classes: tuple[Delta, ...]
    mean_ap: Delta
    nds: Delta
    truth_digest: str
    num_frames: int
    num_groups: int
    resamples: int
    seed: int

    @property
    def per_class(self) -> dict[str, Delta]:
        """The change of AP by category."""
        return {delta.category: delta for delta in self.classes}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {
            "classes": [delta.to_dict() for delta in self.classes],
            "mean_ap": self.mean_ap.to_dict(),
            "nds": self.nds.to_dict(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Comparison:
        """Read what `to_dict` wrote."""
        return cls(
            **{
                **content,
                "classes": tuple(Delta.from_dict(row) for row in content["classes"]),
                "mean_ap": Delta.from_dict(content["mean_ap"]),
                "nds": Delta.from_dict(content["nds"]),
            }
        )


def compare(
    before: Evaluation, after: Evaluation, *, resamples: int = 400, seed: int = 0
) -> Comparison:
    """Compare two models that were evaluated on the same frames.

    Raises:
        DataError: if frames, truth, region or categories differ.
    """
    if before.truth_digest != after.truth_digest or before.region != after.region:
        raise DataError(
            "cannot compare: the two evaluations have different frames, truth or region; "
            "evaluate both models on the same dataset and region"
        )
    if before.categories != after.categories:
        raise DataError(
            f"cannot compare: evaluated categories {before.categories} and {after.categories}; "
            "evaluate both with the same list"
        )
    weights = group_weights(before.groups, resamples, seed)
    old, new = (sample_categories(e.matches, weights) for e in (before, after))
    total, groups = sum(c.num_boxes for c in before.classes), [c.num_groups for c in before.classes]
    return Comparison(
        classes=tuple(
            _delta(score.category, old.ap[i], new.ap[i], score.num_boxes, score.num_groups)
            for i, score in enumerate(before.classes)
        ),
        mean_ap=_delta("mAP", mean_known(old.ap), mean_known(new.ap), total, max(groups)),
        nds=_delta("NDS", detection_score(old), detection_score(new), total, max(groups)),
        truth_digest=before.truth_digest,
        num_frames=before.num_frames,
        num_groups=before.num_groups,
        resamples=resamples,
        seed=seed,
    )


def _delta(name: str, old: Float64, new: Float64, num_boxes: int, num_groups: int) -> Delta:
    change = interval(new - old, num_groups)
    return Delta(
        category=name,
        before=float(old[0]),
        after=float(new[0]),
        low=change.low,
        high=change.high,
        num_boxes=num_boxes,
        not_better=share_not_better(new - old, num_groups),
    )
