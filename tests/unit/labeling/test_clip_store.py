from dataclasses import replace

import pytest

from labeling.annotation import Annotation, Draft, Submission
from labeling.clip_backend import EditorClips
from labeling.clip_store import ClipStore
from storage import layout
from storage.local import LocalStore
from tests.support.clips import clips_of, store_recording


@pytest.fixture
def clips(tmp_path):
    return ClipStore(LocalStore(tmp_path))


@pytest.fixture
def task(clips):
    return clips_of(clips.store, store_recording(clips.store, num_frames=3))[0]


def newer(task):
    """Return the clip with the prelabels of a better model, which tells one car from another."""
    return replace(task, prelabels=task.prelabels[:3], num_people=2, _cache={})


def test_a_clip_that_nobody_touched_gets_newer_prelabels(clips, task):
    EditorClips(clips).push([newer(task)])
    assert clips.get(task.task_id).version == newer(task).version


def test_what_a_person_answered_is_told_by_what_was_on_the_screen(clips, task):
    kept = Annotation(boxes=list(task.prelabels[1:]))
    clips.submit(task, "editor:1", Submission(submission_id="s", annotation=kept))
    EditorClips(clips).push([newer(task)])
    [result] = clips.results(task.recording)
    answers = [result.frames[time] for time in task.timestamps_ns]
    assert {name for answer in answers for name in answer.origin} == {"prediction"}
    assert [answer.num_deleted for answer in answers] == [1, 0, 0]
    assert clips.get(task.task_id).num_people == 2


def test_a_person_who_began_goes_on_with_the_same_clip(clips, task):
    work = Annotation(boxes=[])
    clips.save_draft(
        task,
        "editor:1",
        Draft(client_id="w", sequence=1, version=task.version, annotation=work),
    )
    EditorClips(clips).push([newer(task)])
    assert clips.get(task.task_id).version == task.version
    clips.store.put(layout.clip_task(task.task_id), b"damaged")
    EditorClips(clips).push([newer(task)])
    assert clips.get(task.task_id).version == newer(task).version
