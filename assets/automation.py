"""When assets run by themselves. Each condition is defined once, here.

A blocking check does not hold back plain `eager()`, and fan-in over dynamic partitions never fires
under it, because one recording without frames is a missing dependency for ever.
"""

from __future__ import annotations

import dagster as dg

_CONDITION = dg.AutomationCondition

PER_RECORDING = _CONDITION.eager() & _CONDITION.all_deps_blocking_checks_passed()

ON_NEW_DATA = (
    _CONDITION.any_deps_updated() & ~_CONDITION.any_deps_in_progress() & ~_CONDITION.in_progress()
)
