"""What happens by the clock. Off until somebody switches it on: a turn costs compute and labels."""

from __future__ import annotations

import dagster as dg

from assets.label import selection

nightly_selection = dg.ScheduleDefinition(
    name="nightly_selection",
    target=dg.AssetSelection.assets(selection),
    cron_schedule="0 2 * * *",
    description="Choose the next frames to label every night; the rest of the turn follows.",
)
SCHEDULES = (nightly_selection,)
