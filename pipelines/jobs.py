"""Jobs that people and sensors launch."""

from __future__ import annotations

import dagster as dg

from assets.evaluate import evaluation, simulation
from assets.feedback import feedback, report
from assets.ingest import events, sweeps
from assets.label import annotations, label_tasks, prelabels
from assets.label_quality import label_errors
from assets.release import deployment, release
from assets.train import dataset, detector

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets(sweeps, events),
    description="Read one landed recording and find its events.",
)
label = dg.define_asset_job(
    "label",
    selection=dg.AssetSelection.assets(prelabels, label_tasks, annotations, label_errors),
    description="Send one recording's selected frames to the labelling team; fetch what is done.",
)
answers = dg.define_asset_job(
    "answers",
    selection=dg.AssetSelection.assets(annotations, label_errors),
    description="Take in what the labelling team answered about one recording.",
)
turn = dg.define_asset_job(
    "turn",
    selection=dg.AssetSelection.assets(
        dataset, detector, evaluation, simulation, release, deployment, feedback, report
    ),
    description="From annotated frames to a released model, its report and the next issues.",
)
JOBS = (ingest, label, answers, turn)
