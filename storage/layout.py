"""Every key of the bucket. No other module spells a key."""

from __future__ import annotations

import hashlib

from scene.recording import RecordingId

SWEEPS_PREFIX = "sweeps/"
TABLES_PREFIX = "tables/"
QUARANTINE_PREFIX = "quarantine/"
CLIP_ANSWERS_PREFIX = "labeling/answers/"  # then the recording


def sweeps(recording: RecordingId) -> str:
    """Canonical sweeps of a recording, one Parquet row group a sweep."""
    return f"{SWEEPS_PREFIX}{recording}.parquet"


def poses(recording: RecordingId) -> str:
    """Full-rate ego poses of a recording, Parquet."""
    return f"poses/{recording}.parquet"


def signals_prefix(recording: RecordingId) -> str:
    """Folder of the series of numbers of a recording."""
    return f"signals/{recording}/"


def signal(recording: RecordingId, name: str) -> str:
    """One series of numbers (IMU, GNSS, states, actions), Parquet."""
    return f"{signals_prefix(recording)}{signal_file(name)}"


def signal_file(name: str, *, unique: bool = False) -> str:
    """Name of the file of a signal in its folder; `unique` tells it from names spelt alike."""
    suffix = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}" if unique else ""
    return f"{RecordingId.from_text(name)}{suffix}.parquet"


def images(recording: RecordingId) -> str:
    """Camera images of a recording, compressed as recorded or by reference, Parquet."""
    return f"images/{recording}.parquet"


def table(name: str) -> str:
    """Folder of a Delta table."""
    return f"{TABLES_PREFIX}{name}"


def quarantine(recording: RecordingId, name: str) -> str:
    """The readable part and the reason of a damaged recording."""
    return f"{QUARANTINE_PREFIX}{recording}/{name}"


def preview(recording: RecordingId, name: str) -> str:
    """A picture of a recording."""
    return f"previews/{recording}/{name}.png"


def predictions(model: str, recording: RecordingId) -> str:
    """Boxes that a model predicted for every frame of a recording, Parquet."""
    return f"predictions/{model}/{recording}.parquet"


def dataset(digest: str, name: str) -> str:
    """A file of an immutable dataset: frames.parquet, boxes.parquet, manifest.json (last)."""
    return f"datasets/{digest}/{name}"


def simulated_sweeps(digest: str) -> str:
    """Labelled simulated frames of a failed scenario, Parquet like a recording's sweeps."""
    return f"simulated/{digest}.parquet"


def model(model_id: str, name: str) -> str:
    """A file of an exported model: model.onnx, weights.safetensors, config.json, metrics.json."""
    return f"models/{model_id}/{name}"


def checkpoint(run: str, name: str) -> str:
    """A file of a training run that can be resumed."""
    return f"checkpoints/{run}/{name}"


def evaluation(model_id: str, dataset_digest: str) -> str:
    """Full metrics of a model on a dataset, JSON."""
    return f"evaluations/{model_id}/{dataset_digest}.json"


def evaluation_picture(model_id: str, dataset_digest: str, name: str) -> str:
    """A picture of an evaluation, PNG."""
    return f"evaluations/{model_id}/{dataset_digest}/{name}.png"


def simulation(model_id: str, suite_digest: str) -> str:
    """Full results of a model in a scenario suite, JSON."""
    return f"simulations/{model_id}/{suite_digest}.json"


def release_alias(alias: str) -> str:
    """Tiny pointer object: which release `champion` means."""
    return f"releases/{alias}.json"


def release(model_id: str) -> str:
    """The gate's decision about a model, JSON, written once."""
    return f"releases/decisions/{model_id}.json"


def turn(number: int) -> str:
    """The record of one turn of the loop, JSON."""
    return f"turns/{number:04d}.json"


def report(number: int, suffix: str) -> str:
    """The report of one turn for people; suffix is `html` or `md`."""
    return f"reports/turn-{number:04d}.{suffix}"


def clusters(recording: RecordingId) -> str:
    """Object-sized point clusters of every sweep of a recording, Parquet."""
    return f"clusters/{recording}.parquet"


def prelabels(recording: RecordingId) -> str:
    """Boxes for people to start from, tracked over the whole recording, Parquet."""
    return f"labeling/prelabels/{recording}.parquet"


def label_picture(index: int) -> str:
    """A picture of what annotators disagree about, worst first."""
    return f"labeling/pictures/{index}.png"


def source(recording: RecordingId) -> str:
    """Which landed objects make a recording, and their digest, JSON."""
    return f"sources/{recording}.json"


def quarantined_sweeps(recording: RecordingId) -> str:
    """The readable part of a damaged recording, like `sweeps`."""
    return quarantine(recording, "sweeps.parquet")


def simulated_boxes(recording: str) -> str:
    """Exact boxes of a failed scenario's frames, Parquet."""
    return f"simulated/{recording}.boxes.parquet"


def turn_timings(number: int) -> str:
    """Seconds that the stages of a turn took, JSON."""
    return f"turns/{number:04d}.timings.json"


def report_picture(number: int, index: int) -> str:
    """A picture of a turn's report, as a file of its own."""
    return f"reports/turn-{number:04d}.{index}.png"


def turn_feedback(number: int) -> str:
    """By open issue, the frames that it asks to label after a turn, JSON."""
    return f"turns/{number:04d}.feedback.json"


def parts(recording: RecordingId) -> str:
    """Finished parts of an ingest under way, below keys that say of what; gone when it is done."""
    return f"parts/{recording}/"


def clip_tasks_prefix() -> str:
    """Folder of all clips to label."""
    return "labeling/clips/"


def clip_task(task_id: str) -> str:
    """One clip to label, JSON."""
    return f"{clip_tasks_prefix()}{task_id}.json"


def clip_points(recording: RecordingId, timestamp_ns: int) -> str:
    """One sweep in the point codec as an object of its own, for the browsers of labellers."""
    return f"labeling/points/{recording}/{timestamp_ns}.slpc"


def clip_drafts_prefix(task_id: str) -> str:
    """Folder of the unsubmitted work on a clip, one object a person."""
    return f"labeling/drafts/{task_id}/"


def clip_draft(task_id: str, labeller: str) -> str:
    """The unsubmitted work of one person on a clip, JSON."""
    return f"{clip_drafts_prefix(task_id)}{_file_part(labeller)}.json"


def clip_answers_prefix(recording: RecordingId, task_id: str = "") -> str:
    """Folder of what people submitted for a recording, or for one clip of it."""
    return f"{CLIP_ANSWERS_PREFIX}{recording}/" + (f"{task_id}/" if task_id else "")


def clip_answer(recording: RecordingId, task_id: str, answer_id: str) -> str:
    """What one person submitted for a clip, JSON."""
    return f"{clip_answers_prefix(recording, task_id)}{_file_part(answer_id)}.json"


def _file_part(name: str) -> str:
    """Return a name as one part of a key: other characters than those of ids become `_`."""
    return RecordingId.from_text(name)


def pushed_prefix(place: str) -> str:
    """Folder of what was sent to one project of a labelling server."""
    return f"labeling/pushed/{place}/"


def pushed_batch(place: str, batch: str) -> str:
    """The tasks of one batch that was sent, JSON."""
    return f"{pushed_prefix(place)}{batch}.json"


def poll_cursor(place: str) -> str:
    """Up to when the answers of a project were fetched, JSON."""
    return f"labeling/polled/{place}.json"


def label_inbox(event: str = "") -> str:
    """A report of a labelling server that nobody looked at yet, JSON; without a name the folder."""
    return "labeling/inbox/" + (f"{event}.json" if event else "")
