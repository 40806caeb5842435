from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.selection import SELECTION_SCHEMA, Policy, frame_uncertainty, select_frames
from scene.box import Boxes
from scene.errors import ConfigError, ShapeError
from storage.schemas import EVENTS, SELECTIONS

NS = 1_000_000_000
ISSUE_EVENTS = pa.schema([*EVENTS, pa.field("issue_id", pa.string())])


def pool_of(recordings: int, frames: int, step_s: float = 0.2) -> pa.Table:
    names = np.repeat([f"rec{i:02d}" for i in range(recordings)], frames)
    times = np.tile((np.arange(frames) * step_s * NS).astype(np.int64), recordings)
    return pa.table({"recording": names, "timestamp_ns": times})


def event(recording: str, start_s: float, end_s: float, strength: float, **more) -> dict:
    return {
        "recording": recording, "trigger": "hard_brake", "start_ns": int(start_s * NS),
        "end_ns": int(end_s * NS), "strength": strength, "detail": "why", **more,
    }  # fmt: skip


def events_of(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=EVENTS)


def issues_of(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=ISSUE_EVENTS)


def arms(table: pa.Table) -> dict[str, int]:
    names = table.column("arm").to_pylist()
    return {name: names.count(name) for name in set(names)}


@st.composite
def situations(draw):
    recordings, frames = draw(st.integers(0, 5)), draw(st.integers(1, 30))
    pool = pool_of(recordings, frames)
    seconds = frames * 0.2
    rng = np.random.default_rng(draw(st.integers(0, 1000)))

    def some(count: int, **more):
        rows = []
        for _ in range(count):
            start = float(rng.uniform(0, seconds))
            row = event(
                f"rec{rng.integers(0, 6):02d}", start, start + rng.uniform(0, 2), rng.random()
            )
            rows.append({**row, **{k: f"{k}{rng.integers(0, 3)}" for k in more}})
        return rows

    events = events_of(*some(draw(st.integers(0, 8)), trigger=""))
    issues = issues_of(*some(draw(st.integers(0, 8)), issue_id=""))
    unsure = rng.random(pool.num_rows)
    unsure[rng.random(pool.num_rows) < 0.2] = np.nan
    rows = list(zip(pool["recording"].to_pylist(), pool["timestamp_ns"].to_pylist(), strict=True))
    labelled = {rows[i] for i in rng.permutation(len(rows))[: draw(st.integers(0, 10))]}
    policy = Policy(
        draw(st.integers(0, 40)), draw(st.sampled_from([0.0, 0.15, 0.3])),
        draw(st.sampled_from([0.0, 0.5])), 0.15, draw(st.sampled_from([0.0, 0.4, 1.0])),
        draw(st.integers(0, 5)),
    )  # fmt: skip
    return pool, events, issues, unsure, labelled, policy


@settings(max_examples=80, deadline=None)
@given(situations(), st.randoms(use_true_random=False))
def test_invariants(situation, random):
    pool, events, issues, unsure, labelled, policy = situation
    chosen = select_frames(pool, events, issues, unsure, labelled, policy)
    frames = list(
        zip(chosen["recording"].to_pylist(), chosen["timestamp_ns"].to_pylist(), strict=True)
    )
    every = list(zip(pool["recording"].to_pylist(), pool["timestamp_ns"].to_pylist(), strict=True))
    assert chosen.schema.equals(SELECTION_SCHEMA)
    assert len(set(frames)) == len(frames) <= policy.budget
    assert set(frames) <= set(every) - labelled
    assert all(chosen["reason"].to_pylist())
    gap = max(policy.min_gap_s * NS, 1)
    used: dict[str, list[int]] = {}
    for name, time in [*frames, *labelled]:
        used.setdefault(name, []).append(time)
    for name, time in frames:
        assert sum(abs(other - time) < gap for other in used[name]) == 1
    # Budget not spent only if nothing is left to choose.
    if len(frames) < policy.budget:
        assert all(
            any(abs(other - time) < gap for other in used.get(name, [])) for name, time in every
        )
    # The control share is honoured before any other arm gets a frame.
    controls = arms(chosen).get("control", 0)
    assert controls >= min(policy.quota()["control"], len(frames))
    issue_rows = [i for i, a in enumerate(chosen["arm"].to_pylist()) if a == "issue"]
    assert all(chosen["issue_id"][i].as_py() for i in issue_rows)
    # Same input in another order, same answer.
    order = list(range(pool.num_rows))
    random.shuffle(order)
    order = np.array(order, dtype=np.int64)
    again = select_frames(pool.take(order), events, issues, unsure[order], labelled, policy)
    assert again.equals(chosen)


def test_shares_when_every_arm_has_plenty():
    pool = pool_of(10, 40)
    issues = issues_of(
        *(event(f"rec{i:02d}", 0, 8, 1.0 + i, issue_id=f"i-{i % 2}") for i in range(8))
    )
    events = events_of(*(event(f"rec{i:02d}", 0, 8, 1.0) for i in range(10)))
    chosen = select_frames(pool, events, issues, np.full(400, 0.5), set(), Policy(40, seed=3))
    assert arms(chosen) == {"issue": 20, "trigger": 6, "uncertainty": 8, "control": 6}
    ids = [i for i in chosen["issue_id"].to_pylist() if i]
    assert ids.count("i-0") == ids.count("i-1") == 10, "issues take turns"
    of_issue = chosen.filter(pa.compute.equal(chosen["arm"], "issue"))
    assert len(set(of_issue["recording"].to_pylist())) == 8, "spread over all recordings"
    assert "i-0: why" in of_issue["reason"].to_pylist()


def test_an_arm_that_runs_short_leaves_its_share_to_the_next():
    pool = pool_of(4, 40)
    issues = issues_of(event("rec01", 2.0, 2.0, 5.0, issue_id="i-0"))
    chosen = select_frames(
        pool, events_of(), issues, np.full(160, np.nan), set(), Policy(10, seed=2)
    )
    assert arms(chosen) == {"issue": 1, "control": 9}


def test_the_control_arm_is_a_fair_draw():
    pool = pool_of(1, 50, step_s=2.0)
    issues = issues_of(event("rec00", 0.0, 20.0, 9.0, issue_id="i-0"))
    counts = np.zeros(50)
    for seed in range(300):
        policy = Policy(10, control_share=0.4, issue_share=0.4, seed=seed)
        chosen = select_frames(pool, events_of(), issues, np.full(50, 0.1), set(), policy)
        control = chosen.filter(pa.compute.equal(chosen["arm"], "control"))
        counts[np.array(control["timestamp_ns"].to_pylist()) // (2 * NS)] += 1
    # 4 of 50 frames in 300 draws: 24 expected each, standard deviation 4.7.
    assert counts.sum() == 1200
    assert counts.min() > 24 - 4 * 4.7
    assert counts.max() < 24 + 4 * 4.7


def test_stronger_events_first():
    pool = pool_of(3, 10, step_s=1.0)
    issues = issues_of(
        event("rec00", 3, 3, 0.2, issue_id="i-0"), event("rec01", 4, 4, 0.9, issue_id="i-0")
    )
    policy = Policy(1, control_share=0.0, issue_share=1.0, trigger_share=0.0)
    chosen = select_frames(pool, events_of(), issues, np.zeros(30), set(), policy)
    assert chosen["recording"].to_pylist() == ["rec01"]
    assert chosen["score"].to_pylist() == [0.9]


def test_uncertainty_is_entropy_per_box():
    def boxes(*scores: float) -> Boxes:
        count = len(scores)
        return Boxes.make(
            np.zeros((count, 3)), np.ones((count, 3)), np.zeros(count), ["car"] * count,
            score=np.array(scores),
        )  # fmt: skip

    got = frame_uncertainty(
        {1: boxes(0.5), 2: boxes(0.5, 1.0), 3: boxes(), 4: boxes(0.5, 0.5)}, [1, 2, 3, 4, 5]
    )
    assert got[:4] == pytest.approx([1.0, 0.5, 0.0, 1.0], abs=1e-6)
    assert np.isnan(got[4])


def test_wrong_input_is_named():
    with pytest.raises(ShapeError, match="20 frames"):
        select_frames(pool_of(2, 10), events_of(), issues_of(), np.zeros(3), set(), Policy(3))
    with pytest.raises(ConfigError, match="shares"):
        Policy(10, control_share=0.6, issue_share=0.6)
    assert set(SELECTION_SCHEMA.names) == set(SELECTIONS.names) - {"turn"}
