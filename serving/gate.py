"""The gate: may this model replace the champion? A pure function of measured facts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from scene.errors import FormatError

_FORMAT: Final = "starloop-decision-1"


class ApChange(Protocol):
    """AP of one category of champion (before) and candidate (after) on the same frames.

    `low` and `high` are the paired 95 % interval of after minus before; NaN where unknown.
    """

    @property
    def before(self) -> float: ...  # noqa: D102

    @property
    def after(self) -> float: ...  # noqa: D102

    @property
    def low(self) -> float: ...  # noqa: D102

    @property
    def high(self) -> float: ...  # noqa: D102

    @property
    def num_boxes(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """What the gate looks at.

    Attributes:
        model_id: candidate.
        onnx_digest: sha256 (hex) of the candidate's `model.onnx`.
        artifacts_complete: all files of the model are there with the digests its config names.
        parity_passed: the exported graph predicts what the trained network predicts.
        mean_ap: of the candidate; NaN if it was not measured.
        champion_id: the model to be replaced; None for a first release.
        differences: AP by category against the champion; empty for a first release.
        candidate_collisions: by scenario, whether the candidate collided.
        champion_collisions: the same of the champion; None for a first release.
        max_ap_drop: no category may lose more AP than this, however uncertain.
        tolerated_ap_drop: a certain loss up to this is let pass. The bootstrap knows how frames
            vary, not how two trainings with the same data vary.
    """

    model_id: str
    onnx_digest: str
    artifacts_complete: bool
    parity_passed: bool
    mean_ap: float
    champion_id: str | None = None
    differences: Mapping[str, ApChange] = field(default_factory=dict)
    candidate_collisions: Mapping[str, bool] = field(default_factory=dict)
    champion_collisions: Mapping[str, bool] | None = None
    max_ap_drop: float = 0.10
    tolerated_ap_drop: float = 0.0

    @property
    def digest(self) -> str:
        """Sha256 (hex) of every fact above."""
        facts: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "model_id", "onnx_digest", "artifacts_complete", "parity_passed", "champion_id",
                "max_ap_drop", "tolerated_ap_drop",
            )
        }  # fmt: skip
        collisions = (self.candidate_collisions, self.champion_collisions)
        facts["collisions"] = [None if c is None else sorted(c.items()) for c in collisions]
        facts["mean_ap"] = _json_number(self.mean_ap)
        facts["differences"] = [
            [name, *map(_json_number, (c.before, c.after, c.low, c.high)), c.num_boxes]
            for name, c in sorted(self.differences.items())
        ]
        return _digest(facts)


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule and whether it holds.

    Attributes:
        passed: the rule holds.
        name: of the rule, for example `AP car`.
        text: what was found, for people.
    """

    passed: bool
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate said about a model. Written once, never changed.

    Attributes:
        model_id: candidate.
        onnx_digest: sha256 (hex) of the very file that was judged.
        approved: every rule holds.
        reasons: every rule, also those that hold.
        champion_id: the model it was compared with; None for a first release.
        inputs_digest: sha256 (hex) of the facts.
    """

    model_id: str
    onnx_digest: str
    approved: bool
    reasons: tuple[Reason, ...]
    champion_id: str | None
    inputs_digest: str

    @property
    def digest(self) -> str:
        """Sha256 (hex) of the decision."""
        return _digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"format": _FORMAT, **asdict(self), "reasons": [asdict(r) for r in self.reasons]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Decision:
        """Read what `to_dict` wrote.

        Raises:
            FormatError: if it is something else.
        """
        fields = {name: value for name, value in content.items() if name != "format"}
        try:
            if content["format"] != _FORMAT:
                raise FormatError(f"decision has format {content['format']!r}, not {_FORMAT!r}")
            reasons = tuple(Reason(**reason) for reason in fields.pop("reasons"))
            return cls(**fields, reasons=reasons)
        except (KeyError, TypeError) as error:
            raise FormatError(f"decision is damaged: {error!r}") from error


def decide(facts: GateInput) -> Decision:
    """Judge a candidate.

    A first release needs complete artifacts, parity and an AP above 0. Against a champion, some
    category must have been compared, none may be worse (its interval of the difference wholly
    below zero, or its AP down by more than `max_ap_drop`), and no scenario that the champion passes
    may end in a collision.
    """
    reasons = [_artifacts(facts), _parity(facts)]
    if facts.champion_id is None:
        reasons += [_first_release(facts), _first_simulation(facts)]
    else:
        reasons += [*_categories(facts), _simulation(facts)]
    return Decision(
        facts.model_id,
        facts.onnx_digest,
        all(reason.passed for reason in reasons),
        tuple(reasons),
        facts.champion_id,
        facts.digest,
    )


def _artifacts(facts: GateInput) -> Reason:
    complete = facts.artifacts_complete and len(facts.onnx_digest) == 64
    text = "all files are there, with the digests the config names"
    return Reason(
        complete, "artifacts", text if complete else "files are missing or do not match the config"
    )


def _parity(facts: GateInput) -> Reason:
    text = "the exported file predicts what the trained network predicts"
    return Reason(
        facts.parity_passed,
        "export parity",
        text if facts.parity_passed else "the exported file predicts something else",
    )


def _first_release(facts: GateInput) -> Reason:
    return Reason(
        bool(facts.mean_ap > 0),
        "mAP above 0",
        f"first release: mAP {facts.mean_ap:.3f} on held-out frames",
    )


def _first_simulation(facts: GateInput) -> Reason:
    hit, total = sum(facts.candidate_collisions.values()), len(facts.candidate_collisions)
    return Reason(
        True,
        "simulation",
        f"first release, nothing to compare with: collides in {hit} of {total} scenarios",
    )


def _categories(facts: GateInput) -> Iterator[Reason]:
    if not facts.differences:
        yield Reason(False, "AP", f"no comparison with the champion {facts.champion_id}")
    elif not any(np.isfinite(c.after - c.before) for c in facts.differences.values()):
        text = f"no category has truth: nothing compares it with the champion {facts.champion_id}"
        yield Reason(False, "AP", text)
    for category, change in facts.differences.items():
        yield _category(category, change, facts)


def _category(category: str, change: ApChange, facts: GateInput) -> Reason:
    name, delta = f"AP {category}", change.after - change.before
    if not np.isfinite(delta):
        return Reason(True, name, "no truth on the held-out frames: not judged")
    found = f"{change.before:.3f} → {change.after:.3f}"
    if np.isfinite(change.low):
        found += f", difference {delta:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
    else:
        found += f", difference {delta:+.3f}, no interval"
    found += f" on {change.num_boxes} boxes"
    if delta < -facts.max_ap_drop:
        return Reason(False, name, f"{found}: more than {facts.max_ap_drop:.2f} lost")
    if change.high < 0 and delta < -facts.tolerated_ap_drop:
        return Reason(False, name, f"{found}: worse than the champion")
    return Reason(True, name, f"{found}: not worse")


def _simulation(facts: GateInput) -> Reason:
    name, before = "simulation", facts.champion_collisions or {}
    after = facts.candidate_collisions
    if not before or set(before) != set(after):
        different = sorted(set(before) ^ set(after))
        return Reason(
            False, name, f"champion and candidate did not drive the same scenarios: {different}"
        )
    new = sorted(scenario for scenario, hit in after.items() if hit and not before[scenario])
    if new:
        return Reason(False, name, f"new collision in {', '.join(new)}")
    hits = f"collides in {sum(after.values())} of {len(after)} scenarios, champion in "
    return Reason(True, name, f"no new collision: {hits}{sum(before.values())}")


def _json_number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
