"""One turn of the loop from the command line, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loop.curate import labelled_frames
from loop.ingest import previous
from loop.landing import scan
from loop.turns import champion_id, current_turn
from pipelines.progress import Progress
from pipelines.runner import Runner, RunOutcome
from scene.errors import StarloopError
from storage import layout


@dataclass(frozen=True)
class TurnOutcome:
    """How a turn ended.

    Attributes:
        number: which turn.
        report_key: where its page is; empty if the turn waits for labels.
        waiting: selected frames that nobody has labelled yet.
    """

    number: int
    report_key: str
    waiting: int = 0


class LoopRunner:
    """Drives the assets of the loop in order, with a progress line for every stage."""

    def __init__(self, runner: Runner, progress: Progress) -> None:
        self.runner = runner
        self.workspace = runner.workspace
        self.progress = progress
        self._seconds: dict[str, float] = {}

    def ingest(self) -> int:
        """Ingest every new or changed recording; return how many are quarantined."""
        sources = scan(self.workspace)
        fresh = [s for s in sources if previous(self.workspace, s.name, s.digest) is None]
        quarantined = 0
        with self.progress.stage("ingest", len(fresh)) as stage:
            for source in fresh:
                self.runner.land(source)
                outcome = self.runner.run(["sweeps", "events"], source.name)
                if outcome.problem:
                    quarantined += 1
                    self.progress.warn(f"{source.name}: {outcome.problem}")
                stage.advance(source.name)
            stage.done(
                f"{len(fresh)} new, {len(sources) - len(fresh)} unchanged, "
                f"{quarantined} quarantined"
            )
        self._seconds["ingest"] = stage.seconds
        return quarantined

    def turn(self) -> TurnOutcome:
        """Run one turn to its report; the first ever turn is the bootstrap.

        Raises:
            StarloopError: if a stage failed; everything before it is kept and is not done again.
        """
        number = current_turn(self.workspace)
        self.stage("selection")
        waiting = self.label()
        if waiting and self.workspace.people_label:
            return TurnOutcome(number, "", waiting)
        for name in _AFTER_LABELS:
            self.stage(name)
        self._write_timings(number)
        self.stage("report")
        return TurnOutcome(number, layout.report(number, "html"))

    def stage(self, name: str) -> None:
        """Run one stage of the current turn.

        Raises:
            StarloopError: if it failed.
        """
        if name == "label":
            self.label()
            return
        with self.progress.stage(name) as stage:
            outcome = self.runner.run([name], listener=stage.say)
            metadata = _require(outcome, name)[name]
            stage.done(_HEADLINES[name](metadata))
        self._seconds[name] = stage.seconds

    def label(self) -> int:
        """Push and pull the recordings with selected frames; return how many frames still wait."""
        number = current_turn(self.workspace)
        selected = self.workspace.tables.read("selections", {"turn": number})
        frames = set(
            zip(
                selected["recording"].to_pylist(), selected["timestamp_ns"].to_pylist(), strict=True
            )
        )
        missing = frames - labelled_frames(self.workspace)
        names = sorted({name for name, _ in missing})
        steps = ["label_tasks", "annotations"]
        if self.workspace.people_label:
            steps = ["prelabels", *steps]
            self.workspace.clip_backend().fetch()
        with self.progress.stage("label", len(names)) as stage:
            for name in names:
                _require(self.runner.run(steps, name), "label")
                stage.advance(name)
            if names:
                _require(self.runner.run(["label_quality"]), "label")
            waiting = len(frames - labelled_frames(self.workspace))
            backend = self.workspace.label_place()
            stage.done(f"{len(missing) - waiting} frames labelled ({backend.name})")
        self._seconds["label"] = stage.seconds
        return waiting

    def _write_timings(self, number: int) -> None:
        body = json.dumps(self._seconds).encode()
        self.workspace.store.put(layout.turn_timings(number), body)
        self._seconds = {}


def needs_bootstrap(runner: Runner) -> bool:
    """Return whether there is no champion yet."""
    return champion_id(runner.workspace) is None


def _require(outcome: RunOutcome, stage: str) -> dict[str, dict[str, Any]]:
    if outcome.problem:
        raise StarloopError(f"{stage}: {outcome.problem}")
    return outcome.metadata


_HEADLINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "selection": lambda m: f"turn {m['turn']}: {m['dagster/row_count']} frames",
    "dataset": lambda m: (
        f"{m.get('frames_train', 0)} train, {m.get('frames_sim', 0)} simulated, "
        f"{m.get('frames_test', 0)} held out"
    ),
    "detector": lambda m: f"{m['model']}{' (reused)' if m['reused'] else ''}",
    "evaluation": lambda m: f"mAP {m['mAP']:.3f}  NDS {m['NDS']:.3f}",
    "simulation": lambda m: f"{m['collisions']} collisions",
    "release": lambda m: f"{'approved' if m['approved'] else 'REFUSED'}: {m['candidate']}",
    "deployment": lambda m: f"{m['frames_compared']} frames equal to the evaluation",
    "feedback": lambda m: f"{m['open_issues']} open issues",
    "report": lambda m: m["html"],
}
_AFTER_LABELS = (
    "dataset",
    "detector",
    "evaluation",
    "simulation",
    "release",
    "deployment",
    "feedback",
)
