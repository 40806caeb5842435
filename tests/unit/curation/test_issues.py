from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from curation.issues import (
    Issue,
    SliceScore,
    find_issues,
    rate_per_hour,
    trigger_for,
    update_ledger,
)
from curation.triggers import Event
from scene.box import Boxes
from scene.errors import DataError
from storage.schemas import ISSUES
from tests.unit.curation.conftest import PARKED


def score(name="pedestrian near vehicle", ap=0.1, high=0.3, boxes=40, **more) -> SliceScore:
    base = SliceScore(name, "pedestrian", 0.0, 40.0, "vehicle", ap, 0.0, high, boxes, 12)
    return replace(base, **more)


def result(name: str, verdict: str, hazard: str = "pedestrian", truth: bool = True) -> dict:
    return {
        "scenario": name, "verdict": verdict, "hazard": hazard, "ground_truth_passes": truth,
        "collision": verdict != "pass", "min_ttc_s": math.inf, "critical": [1, 2],
    }  # fmt: skip


def test_weak_slices_become_issues_only_with_enough_evidence():
    slices = [
        score(),
        score("pedestrian 0-20 m", 0.3, 0.9),  # too wide an interval to be sure
        score("pedestrian 20-35 m", 0.1, 0.2, boxes=3),  # too few boxes
        score("car 0-20 m", 0.8, 0.9, category="car", near=""),
        score("bus 0-20 m", math.nan, math.nan, category="bus"),
    ]
    (issue,) = find_issues(slices, [], turn=3)
    assert (issue.kind, issue.slice_name) == ("weak_slice", "pedestrian near vehicle")
    assert (issue.state, issue.opened_turn, issue.near) == ("open", 3, "vehicle")
    assert json.loads(issue.evidence)["ap"] == 0.1
    assert "AP 0.10" in issue.title


def test_only_perception_failures_become_issues():
    scenarios = [
        result("crossing_pedestrian", "pass"),
        result("pedestrian_from_behind_parked_vehicle", "perception_failure"),
        result("cut_in", "planner_failure", "car"),
        result("lead", "perception_failure", "car", truth=False),
    ]
    (issue,) = find_issues([], scenarios, turn=1)
    assert issue.scenario == "pedestrian_from_behind_parked_vehicle"
    assert (issue.category, issue.near, issue.range_max_m) == ("pedestrian", "vehicle", 40.0)
    evidence = json.loads(issue.evidence)
    assert evidence["min_ttc_s"] is None, "JSON knows no infinity"
    assert "critical" not in evidence


def test_a_failed_scenario_without_a_known_hazard_is_refused():
    failed = result("crossing_bicycle", "perception_failure")
    del failed["hazard"]
    with pytest.raises(DataError, match="crossing_bicycle: hazard"):
        find_issues([], [failed], 1)
    (issue,) = find_issues([], [failed], 1, hazards={"crossing_bicycle": "bicycle"})
    assert (issue.category, issue.near) == ("bicycle", "")


def test_rows_round_trip_through_the_table():
    found = find_issues([score()], [result("crossing_pedestrian", "perception_failure")], 1)
    table = pa.Table.from_pylist([issue.to_row() for issue in found], schema=ISSUES)
    assert [Issue.from_row(row) for row in table.to_pylist()] == found
    with pytest.raises(DataError, match="evidence"):
        Issue.from_row({"issue_id": "i-1"})


def test_ledger_keeps_identity_resolves_and_reopens():
    scenario = result("crossing_pedestrian", "perception_failure")
    first = update_ledger([], find_issues([score()], [scenario], 1), [score()], 1)
    assert [i.state for i in first] == ["open", "open"]

    # Turn 2: slice better but not healed, scenario passes.
    better = score(ap=0.45, high=0.6)
    second = update_ledger(first, find_issues([better], [], 2), [better], 2)
    assert [i.issue_id for i in second] == [i.issue_id for i in first]
    states = {i.kind: i for i in second}
    assert states["weak_slice"].state == "open"
    assert json.loads(states["weak_slice"].evidence)["ap"] == 0.45
    assert states["failed_scenario"].state == "resolved"

    # Turn 3: healed.
    good = score(ap=0.7, high=0.8)
    third = update_ledger(second, find_issues([good], [], 3), [good], 3)
    assert {i.state for i in third} == {"resolved"}

    # Turn 4: both come back.
    fourth = update_ledger(third, find_issues([score()], [scenario], 4), [score()], 4)
    assert {i.state for i in fourth} == {"open"}
    assert [i.issue_id for i in fourth] == [i.issue_id for i in first]
    assert {i.opened_turn for i in fourth} == {4}

    # Turn 5: still there; opened when it was opened.
    fifth = update_ledger(fourth, find_issues([score()], [scenario], 5), [score()], 5)
    assert {(i.opened_turn, i.updated_turn) for i in fifth} == {(4, 5)}


def test_what_was_not_measured_stays_as_it_is():
    scenario = result("crossing_pedestrian", "perception_failure")
    ledger = update_ledger([], find_issues([score()], [scenario], 1), [score()], 1)
    empty = score(ap=math.nan, high=math.nan, boxes=0)
    assert update_ledger(ledger, [], [], 2, scenarios_run=()) == ledger
    assert update_ledger(ledger, [], [empty], 2, scenarios_run={"cut_in"}) == ledger


def issue_near(near: str = "vehicle", category: str = "pedestrian") -> Issue:
    (issue,) = find_issues([score(near=near, category=category)], [], 1)
    return issue


def hits(drive, truth, events) -> tuple[set[int], set[int]]:
    """Return the sweep times that fired, split by whether the person was there to be seen."""
    fired = {event.start_ns for event in events}
    return fired & set(truth), fired - set(truth)


def test_trigger_finds_the_person_between_parked_cars_and_no_clutter(street):
    drive, truth = street(with_person=True)
    events = trigger_for(issue_near()).fire(drive, {})
    right, wrong = hits(drive, truth, events)
    assert not wrong
    # Beside the parked cars (they end 3.3 m from the middle), at least 10 points, ahead of the ego.
    clear = {
        t for t, p in truth.items() if p.num_points >= 10 and 1.2 < abs(p.y_m) < 6 and p.x_m > 4
    }
    assert len(clear) >= 5
    assert len(right & clear) >= 0.7 * len(clear)
    assert all("pedestrian-sized" in event.detail for event in events)


def clear_cases(events: list[Event]) -> list[Event]:
    """Leave out what could not be judged: at the end of a drive things come out of hiding."""
    assert len([event for event in events if event.strength < 0.4]) <= 1
    return [event for event in events if event.strength >= 0.4]


def test_trigger_is_silent_on_the_same_street_without_the_person(street):
    drive, _ = street(with_person=False)
    assert clear_cases(trigger_for(issue_near()).fire(drive, {})) == []


def test_trigger_is_silent_where_the_champion_saw_the_person(street):
    drive, truth = street(with_person=True)

    def seen(place, score):
        center, size = np.array([[place.x_m, place.y_m, 0.9]]), np.array([[0.7, 0.7, 1.75]])
        return Boxes.make(center, size, np.zeros(1), ["pedestrian"], score=np.array([score]))

    sure = {t: seen(place, 0.8) for t, place in truth.items()}
    assert clear_cases(trigger_for(issue_near()).fire(drive, sure)) == []
    unsure = {t: seen(place, 0.1) for t, place in truth.items()}
    blind = trigger_for(issue_near()).fire(drive, {})
    assert trigger_for(issue_near()).fire(drive, unsure) == blind


def test_trigger_heeds_range_and_category(street):
    drive, _ = street(with_person=True)
    far = replace(issue_near(), range_min_m=35.0)
    assert trigger_for(far).fire(drive, {}) == []
    with pytest.raises(DataError, match="unknown category"):
        trigger_for(replace(issue_near(), category="kraken"))


def test_without_other_sweeps_the_trigger_judges_by_size_alone(street):
    drive, truth = street(with_person=True)
    time = max(t for t, p in truth.items() if p.x_m > 6)
    keep = drive.sweep_times_ns == time
    alone = replace(
        drive, sweep_times_ns=drive.sweep_times_ns[keep], num_points=drive.num_points[keep]
    )
    (event,) = trigger_for(issue_near()).fire(alone, {})
    assert event.start_ns == time
    assert 0.3 <= event.strength < 0.5, "nobody can know whether it moved"


def test_a_missed_parked_car_fires_though_it_stands_still(street):
    drive, _ = street(with_person=False)
    trigger = trigger_for(replace(issue_near("", "car"), range_max_m=25.0))
    blind = trigger.fire(drive, {})
    assert len(blind) == len(drive.sweep_times_ns)
    predictions = {}
    for time in drive.sweep_times_ns.tolist():
        ego_SE3_map = drive.trajectory.at(time).inverse()
        parked = replace(PARKED, score=np.full(len(PARKED), 0.9))
        predictions[time] = parked.transform(ego_SE3_map)
    assert trigger.fire(drive, predictions) == []


def test_rate_counts_encounters_not_frames():
    def at(*seconds: float) -> list[Event]:
        return [Event("issue:x", int(s * 1e9), int(s * 1e9), 1.0, "") for s in seconds]

    events = {"a": at(1.0, 1.2, 2.9, 9.0), "b": at(3.0), "c": []}
    assert rate_per_hour(events, 1800.0) == pytest.approx(6.0)
    assert rate_per_hour({}, 60.0) == 0.0
    assert rate_per_hour({}, 0.0) is None
