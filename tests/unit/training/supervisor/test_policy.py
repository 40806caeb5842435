import pytest

from training.supervisor.policy import Act, Fault, Kind, Limits, decide

LIMITS = Limits(no_progress=3, give_up=5, straggles=2, bad_window=10, storage_patience_s=60.0)


def answer(fault, earlier=(), spares=0):
    return decide(fault, earlier, spares=spares, limits=LIMITS)


@pytest.mark.parametrize("kind", [Kind.KILLED, Kind.HANG, Kind.STUCK, Kind.EXCEPTION])
def test_a_lost_worker_is_restarted_as_often_as_there_is_progress(kind):
    earlier = [Fault(kind, 1, 1, step) for step in range(20)]
    action = answer(Fault(kind, 1, 1, 20), earlier)
    assert (action.act, action.tier) == (Act.RESTART, 1)


def test_without_progress_the_place_is_excluded_then_the_training_stops():
    fault = Fault(Kind.KILLED, 1, 1, 7)
    acts = [answer(fault, [fault] * n, spares=1).act for n in range(5)]
    assert acts == [Act.RESTART, Act.RESTART, Act.REPLACE, Act.REPLACE, Act.STOP]
    assert [answer(fault, [fault] * n).act for n in range(3)] == [Act.RESTART] * 2 + [Act.STOP]
    assert answer(fault, [fault, fault]).code == 1
    hang = Fault(Kind.HANG, 1, 1, 7)
    assert answer(hang, [fault, fault]).code == 76


def test_the_same_error_at_the_same_step_fails_at_once_another_one_does_not():
    first = Fault(Kind.EXCEPTION, 0, 0, 5, "ValueError at model.py:3 f")
    assert answer(first, [first]).act == Act.STOP
    assert answer(first, [first]).tier == 4
    later = Fault(Kind.EXCEPTION, 0, 0, 6, first.where)
    assert answer(later, [first]).act == Act.RESTART
    other = Fault(Kind.EXCEPTION, 0, 0, 5, "KeyError at data.py:9 g")
    assert answer(other, [first]).act == Act.RESTART


def test_a_bad_batch_is_left_out_once_and_a_second_one_near_it_ends_the_training():
    first = Fault(Kind.BAD_BATCH, 0, 0, 50)
    assert (answer(first).act, answer(first).tier) == (Act.SKIP, 2)
    assert answer(Fault(Kind.BAD_BATCH, 0, 0, 70), [first]).act == Act.SKIP
    second = answer(Fault(Kind.BAD_BATCH, 0, 0, 51), [first])
    assert (second.act, second.code) == (Act.STOP, 77)


def test_corruption_is_done_again_once():
    fault = Fault(Kind.CORRUPTION, 1, 1, 50)
    assert (answer(fault).act, answer(fault).tier) == (Act.RESTART, 2)
    assert answer(fault, [fault]).code == 79


def test_a_broken_device_is_excluded_or_the_work_goes_elsewhere():
    fault = Fault(Kind.DEVICE, place=1)
    assert answer(fault, spares=1).act == Act.REPLACE
    assert (answer(fault).act, answer(fault).code) == (Act.DRAIN, 75)


def test_a_slow_place_is_reported_then_excluded_if_there_is_another():
    fault = Fault(Kind.STRAGGLER, 1, 1, 40)
    assert answer(fault, spares=1).act == Act.NOTE
    assert answer(fault, [fault], spares=1).act == Act.REPLACE
    assert answer(fault, [fault]).act == Act.NOTE
    assert answer(fault, [Fault(Kind.STRAGGLER, 0, 0, 40)], spares=1).act == Act.NOTE


def test_storage_that_is_away_is_waited_for_until_patience_ends():
    assert answer(Fault(Kind.STORAGE, seconds=59.0)).act == Act.NOTE
    late = answer(Fault(Kind.STORAGE, seconds=60.0))
    assert (late.act, late.code) == (Act.DRAIN, 75)


def test_preemption_drains_and_a_wrong_job_is_not_tried_again():
    assert (answer(Fault(Kind.PREEMPTION)).act, answer(Fault(Kind.PREEMPTION)).code) == (
        Act.DRAIN,
        75,
    )
    assert answer(Fault(Kind.CONFIG)).code == 78


def test_every_kind_has_an_answer():
    for kind in Kind:
        assert answer(Fault(kind)).reason
