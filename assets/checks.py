"""Blocking checks of sweeps: the rules of `recordings.rules.quality`, one check a subject."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final, NamedTuple

import dagster as dg

from assets.partitions import RECORDINGS
from recordings.rules.quality import SUBJECTS, Finding

_WHAT: Final = {
    "content": "The recording holds sweeps or other data, and nothing twice.",
    "time": "Sweeps, points, poses and images follow each other by one clock.",
    "geometry": "Points are finite, in metres, and show the whole view.",
    "poses": "Ego poses are there, and a vehicle can move like that.",
    "calibration": "Sensors are mounted where a sensor can be.",
    "labels": "The recording's own boxes fit the points and each other.",
    "signals": "States, actions and other signals are in order and plausible.",
}


class SweepCheck(NamedTuple):
    """One check in the UI and the rules behind it."""

    name: str
    codes: frozenset[str]
    description: str


SWEEP_CHECKS: Final = tuple(
    SweepCheck(
        f"{subject}_sane",
        frozenset(rule.code for rule in rules),
        f"{_WHAT[subject]} Rules: {', '.join(sorted(rule.code for rule in rules))}.",
    )
    for subject, rules in SUBJECTS.items()
)


def sweep_check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """Return the specs of all sweep checks; each blocks what comes after."""
    # Partitioned checks work in the pinned Dagster; its warning would greet every user.
    warnings.filterwarnings("ignore", message=".*partitions_def.*", category=dg.PreviewWarning)
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=asset,
            blocking=True,
            description=check.description,
            partitions_def=RECORDINGS,  # else one bad recording would hold back all others
        )
        for check in SWEEP_CHECKS
    ]


def sweep_check_results(findings: Sequence[Finding]) -> list[dg.AssetCheckResult]:
    """Return one result a check: it fails on an error; a warning is shown and passes."""
    return [
        _result(check, [finding for finding in findings if finding.code in check.codes])
        for check in SWEEP_CHECKS
    ]


def _result(check: SweepCheck, findings: Sequence[Finding]) -> dg.AssetCheckResult:
    text = "; ".join(f"{f.code} {f.message}. {f.remedy}" for f in findings)
    records = [
        dg.TableRecord(
            {
                "code": finding.code,
                "severity": finding.severity,
                "what": finding.message,
                "remedy": finding.remedy,
                "count": finding.count,
            }
        )
        for finding in findings
    ]
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=all(finding.severity != "error" for finding in findings),
        description=text or None,
        metadata={"findings": dg.MetadataValue.table(records)} if records else None,
    )
