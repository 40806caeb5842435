"""Answers of people, looked for again and again: what a webhook tells, and what it missed."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing

import dagster as dg

from loop.label_watch import digest_of_answers, open_recordings, open_rectangles
from loop.workspace import Workspace
from pipelines.jobs import answers as answers_job

_PER_TICK = 20  # recordings whose rectangles are listed over the network


@dg.sensor(
    job=answers_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fetches answers of the labelling team; a recording with new ones is pulled.",
)
def answers(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run for every recording whose answers changed since it was pulled.

    The cursor holds a digest of the answers of each recording, so that nothing depends on when a
    tick came or on a webhook that was lost. Recordings take turns where there are many.
    """
    with closing(workspace.clip_backend()) as clips:
        clips.fetch()
    names = open_recordings(workspace)
    if not names:
        return dg.SkipReason("no frame waits for people, and nobody answered anything")
    cursor = json.loads(context.cursor or "{}")
    seen, start = cursor.get("seen", {}), cursor.get("next", "")
    turn = [name for name in names if name >= start] + [name for name in names if name < start]
    requests = []
    with open_rectangles(workspace) as rectangles:
        for name in turn[:_PER_TICK]:
            digest = digest_of_answers(workspace, name, rectangles)
            if seen.get(name, "") != digest:
                key = hashlib.sha256(f"{name}|{digest}".encode()).hexdigest()[:16]
                requests.append(dg.RunRequest(run_key=f"{name}:{key}", partition_key=name))
                seen[name] = digest
    following = turn[_PER_TICK] if len(turn) > _PER_TICK else ""
    return dg.SensorResult(
        run_requests=requests, cursor=json.dumps({"seen": seen, "next": following})
    )
