"""Blocking checks of sweeps: the sanity rules of `recordings.quality`, grouped for people."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final, NamedTuple

import dagster as dg

from assets.partitions import RECORDINGS
from recordings.quality import Finding


class SweepCheck(NamedTuple):
    """One check in the UI and the rules behind it."""

    name: str
    codes: frozenset[str]
    description: str


SWEEP_CHECKS: Final = (
    SweepCheck("no_empty_clouds", frozenset({"REC001", "REC002", "REC003"}), "Sweeps hold points."),
    SweepCheck("no_nan", frozenset({"REC004"}), "All stored points are finite."),
    SweepCheck("time_order", frozenset({"REC005", "REC010"}), "Sweeps follow each other in time."),
    SweepCheck("rate_gaps", frozenset({"REC006"}), "The sweep rate has no gaps."),
    SweepCheck(
        "calibrated", frozenset({"REC007", "REC008", "REC009"}), "Mounting and ego poses are known."
    ),
    SweepCheck(
        "signals_sane",
        frozenset(f"REC0{number}" for number in range(70, 81)),
        "States, actions and other signals are in order and plausible.",
    ),
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
    results = []
    for check in SWEEP_CHECKS:
        mine = [finding for finding in findings if finding.code in check.codes]
        errors = [finding for finding in mine if finding.severity == "error"]
        text = "; ".join(f"{f.code} {f.message}. {f.remedy}" for f in mine)
        results.append(
            dg.AssetCheckResult(check_name=check.name, passed=not errors, description=text or None)
        )
    return results
