from dataclasses import replace
from types import SimpleNamespace

import pytest

from labeling.clip_store import ClipStore
from labeling.label_studio_clips import LabelStudioClips
from labeling.push_ledger import Ledger
from storage.local import LocalStore
from tests.support.clips import clips_of, store_recording


class Project:
    """One task of Label Studio, number 7."""

    project_id = 1

    def __init__(self, annotations):
        self.row = {"annotations": annotations, "drafts": [], "predictions": [{"id": 3}]}
        self.predictions = []

    def read_task(self, number):
        assert number == 7
        return self.row

    def add_prediction(self, number, prediction):
        self.predictions.append(prediction)


@pytest.mark.parametrize("annotations", [[], [{"id": 1}]])
def test_the_bucket_says_what_people_in_label_studio_see(tmp_path, annotations):
    clips = ClipStore(LocalStore(tmp_path))
    task = clips_of(clips.store, store_recording(clips.store, num_frames=3))[0]
    backend = LabelStudioClips("http://there", "key", clips, "clips")
    project, deleted = Project(annotations), []
    backend.server = SimpleNamespace(
        get=lambda path: {"created_at": "yesterday"}, delete=deleted.append, close=lambda: None
    )
    backend._opened = project
    ledger = Ledger.load(clips.store, backend.place)
    ledger.finish(ledger.begin({task.task_id: task.version}), {task.task_id: 7})
    better = replace(task, prelabels=task.prelabels[:3], _cache={})
    report = backend.push([better])
    assert report.num_refreshed == len(project.predictions) == len(deleted) == (not annotations)
    shown = task if annotations else better
    assert clips.get(task.task_id).version == shown.version
