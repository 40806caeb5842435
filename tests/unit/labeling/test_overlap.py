import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labeling.clip_store import ClipStore
from labeling.clip_task import ClipTask
from labeling.overlap import ask_people, people_for
from storage.local import LocalStore
from tests.support.clips import clips_of, store_recording

IDS = [f"{number:016x}" for number in range(20_000)]


def test_the_share_is_kept_and_a_larger_one_keeps_those_of_a_smaller():
    several = {share: {i for i in IDS if people_for(i, share) == 2} for share in (0.1, 0.3)}
    for share, chosen in several.items():
        # three standard deviations of a binomial
        assert abs(len(chosen) / len(IDS) - share) < 3 * np.sqrt(share * (1 - share) / len(IDS))
    assert several[0.1] < several[0.3]
    assert not any(people_for(i, 0.0) > 1 for i in IDS)
    assert all(people_for(i, 1.0) == 2 for i in IDS)


@given(st.text("0123456789abcdef", min_size=16, max_size=16), st.floats(0, 1))
def test_it_is_the_same_every_time(task_id, share):
    assert people_for(task_id, share) == people_for(task_id, share)


def test_who_is_asked_is_kept_with_the_clip_and_shows_in_nothing_else(tmp_path):
    store = LocalStore(tmp_path)
    tasks = clips_of(store, store_recording(store), length=1)
    twice = ask_people(tasks, 1.0)
    assert [task.num_people for task in twice] == [2] * len(tasks)
    assert [task.version for task in twice] == [task.version for task in tasks]
    ClipStore(store).add(twice[0])
    assert ClipStore(store).get(twice[0].task_id).num_people == 2
    old = tasks[1].to_json()
    del old["num_people"]  # of a clip that was made before
    assert ClipTask.from_json(old, "there").num_people == 1
    review = ClipTask(tasks[0].recording, tasks[0].frames, purpose="review")
    assert ask_people([review], 1.0)[0].num_people == 1
