"""The supervisor's account of a training, as tables of the asset's page."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import dagster as dg

from assets.metadata import table
from training.supervisor.categories import CATEGORIES


def time_table(account: Mapping[str, Any]) -> dg.MetadataValue:
    """Return where the time went, in Google's goodput categories; the rows add up to the last."""
    wall_s = max(float(account["wall_s"]), 1e-9)
    rows = [
        {
            "category": words,
            "seconds": f"{account[name]:.2f}",
            "share": f"{account[name] / wall_s:.1%}",
        }
        for name, words in CATEGORIES.items()
    ]
    return table([*rows, {"category": "all", "seconds": f"{wall_s:.2f}", "share": "100.0%"}])


def fault_table(account: Mapping[str, Any]) -> dg.MetadataValue:
    """Return a row for every kind of fault: how often, and what its restarts cost."""
    rows = []
    for kind, count in account["faults"].items():
        restarts = [r for r in account["recoveries"] if r["kind"] == kind]
        rows.append(
            {
                "fault": kind,
                "count": count,
                "restarts": len(restarts),
                "perceived in (median)": _seconds(restarts, "perceive_s"),
                "back in (median)": _seconds(restarts, "restart_s"),
                "steps done again": sum(int(r["lost_steps"]) for r in restarts),
            }
        )
    return table(rows)


def _seconds(restarts: list[Mapping[str, Any]], name: str) -> str:
    return f"{median(r[name] for r in restarts):.2f} s" if restarts else ""
