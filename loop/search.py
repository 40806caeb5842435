"""Looking through the unlabelled pool with the triggers of open issues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from curation.issues import Issue, rate_per_hour
from curation.triggers import Event
from loop.curate import (
    fire_issues,
    labelled_frames,
    mining_pool,
    splits,
    usable_recordings,
)
from loop.predictions import predict_recording
from loop.workspace import Workspace
from scene.recording import RecordingId

Frame = tuple[str, int]


@dataclass(frozen=True)
class IssueSearch:
    """What the triggers of open issues found.

    Attributes:
        frames: by issue, the unlabelled frames it asks for.
        rate_per_hour: by issue, how often it is met in an hour of driving.
    """

    frames: dict[str, list[Frame]]
    rate_per_hour: dict[str, float | None]


def search_pool(workspace: Workspace, model_id: str, issues: Sequence[Issue]) -> IssueSearch:
    """Run the triggers of issues over the pool that may be labelled next, with a model's boxes."""
    pool = mining_pool(workspace, splits(workspace))
    unlabelled = set(pool) - labelled_frames(workspace)
    names = list(dict.fromkeys(name for name, _ in pool))
    fired: dict[str, dict[str, list[Event]]] = {issue.issue_id: {} for issue in issues}
    for name in names if issues else []:
        recording = RecordingId(name)
        times = [time for recorded, time in pool if recorded == name]
        predictions = predict_recording(workspace, model_id, recording, times)
        for issue_id, events in fire_issues(workspace, recording, issues, predictions).items():
            fired[issue_id][name] = events
    driven_s = sum(
        (row["end_ns"] - row["start_ns"]) / 1e9
        for row in usable_recordings(workspace)
        if row["recording"] in set(names)
    )
    return IssueSearch(
        {issue_id: _frames_of(events, unlabelled) for issue_id, events in fired.items()},
        {issue_id: rate_per_hour(events, driven_s) for issue_id, events in fired.items()},
    )


def with_rates(issues: Sequence[Issue], search: IssueSearch) -> list[Issue]:
    """Return the issues with how often each is met; those not searched for keep theirs."""
    return [
        replace(issue, rate_per_hour=search.rate_per_hour.get(issue.issue_id, issue.rate_per_hour))
        for issue in issues
    ]


def _frames_of(events: Mapping[str, Sequence[Event]], unlabelled: set[Frame]) -> list[Frame]:
    """Return the unlabelled frames within the events' time spans."""
    found: set[Frame] = set()
    for name, of_recording in events.items():
        times = sorted(time for recording, time in unlabelled if recording == name)
        found.update(
            (name, time)
            for event in of_recording
            for time in times
            if event.start_ns <= time <= event.end_ns
        )
    return sorted(found)
