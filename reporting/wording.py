"""Numbers as people read them, and the sentences at the top of the report."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from reporting.model import Interval, RecordingLine, ScenarioRun, SliceLine, TurnReport

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first thing a reader sees.

    Attributes:
        tone: "good", "bad" or "quiet".
        label: one or two words.
        headline: one sentence: the result.
        detail: one or two sentences: what it rests on.
    """

    tone: str
    label: str
    headline: str
    detail: str


@dataclass(frozen=True, slots=True)
class Step:
    """One station of the loop."""

    name: str
    figure: str
    note: str
    tone: str = "quiet"


def score(value: float) -> str:
    """Return an average precision or similar with two decimals."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def interval(value: Interval | None) -> str:
    """Return `0.46 (0.39–0.53)`."""
    if value is None or not measured(value):
        return NOT_MEASURED
    return f"{value.value:.2f} ({value.low:.2f}–{value.high:.2f})"


def change(before: Interval | None, after: Interval | None) -> str:
    """Return the signed difference of two figures; empty when one is missing."""
    if before is None or after is None or math.isnan(after.value - before.value):
        return ""
    text = f"{after.value - before.value:+.2f}"
    return "±0.00" if text in {"+0.00", "-0.00"} else text.replace("-", "−")


def measured(value: Interval | None) -> bool:
    """Return whether there is a figure at all."""
    return value is not None and not math.isnan(value.value)


def direction(before: Interval | None, after: Interval | None) -> str:
    """Return "good" or "bad" where the two intervals do not overlap, otherwise "quiet"."""
    if before is None or after is None or not (measured(before) and measured(after)):
        return "quiet"
    if after.low > before.high:
        return "good"
    return "bad" if after.high < before.low else "quiet"


def count(number: float) -> str:
    """Return 1234567 as `1.2 M`."""
    if number >= 999_500:
        return f"{number / 1e6:.1f} M"
    if number >= 10_000:
        return f"{number / 1e3:.0f} k"
    return f"{number:,.0f}"


def plural(number: int, noun: str) -> str:
    """Return `1 frame`, `2 frames`; nouns ending in x take `es`."""
    ending = "es" if noun.endswith("x") else "s"
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}{ending}"


def duration(seconds: float) -> str:
    """Return seconds as `0.4 s`, `75 s` or `3 min 05 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"


def spoken(name: str) -> str:
    """Return a machine name as words."""
    return name.replace("_", " ")


def run_tone(run: ScenarioRun | None) -> str:
    """Return "good", "bad" or "quiet" for a drive through a scenario."""
    if run is None:
        return "quiet"
    return "good" if run.verdict == "pass" else "bad"


def run_label(run: ScenarioRun | None) -> str:
    """Return the verdict of a drive in a few words."""
    if run is None:
        return "not driven"
    if run.collision:
        return f"collision at {run.impact_speed_mps * 3.6:.0f} km/h"
    return {"pass": "passed"}.get(run.verdict, spoken(run.verdict))


def run_detail(run: ScenarioRun | None) -> str:
    """Return what the verdict rests on."""
    if run is None:
        return ""
    parts = []
    if not run.collision and math.isfinite(run.min_ttc_s):
        parts.append(f"never closer than {max(0.0, run.min_ttc_s):.1f} s to a collision")
    if run.verdict == "perception_failure" and run.first_failed_frame is not None:
        parts.append(f"first missed in frame {run.first_failed_frame}")
    if run.verdict == "planner_failure":
        parts.append("the detector saw it; the planner failed")
    return "; ".join(parts)


def num_passed(report: TurnReport, who: str) -> int:
    """Return how many scenarios `champion` or `candidate` passed."""
    runs = [getattr(line, who) for line in report.scenarios]
    return sum(run is not None and run.verdict == "pass" for run in runs)


def main_slice(report: TurnReport) -> SliceLine | None:
    """Return the first targeted slice that both models were measured on."""
    for line in report.slices:
        if line.targeted and measured(line.before) and measured(line.after):
            return line
    return None


def verdict(report: TurnReport) -> Verdict:
    """Return the head of the page."""
    gate = report.gate
    moved = _slice_headline(main_slice(report))
    support = _sentences(_slice_support(report), _simulation_sentence(report))
    result = _sentences(f"{moved}." if moved else _metric_sentence(report), support)
    if gate is None:
        return Verdict("quiet", "No decision", "This turn made no release decision", result)
    if not gate.approved:
        failed = [reason.text for reason in gate.reasons if not reason.passed]
        why = f"Refused because: {failed[0].rstrip('.')}." if failed else ""
        headline = "The candidate was refused; the champion stays"
        return Verdict("bad", "Refused", headline, _sentences(why, result))
    if moved:
        return Verdict("good", "Released", moved, support)
    first = "The new model is released" if gate.champion_before else "The first model is released"
    return Verdict("good", "Released", first, result)


def steps(report: TurnReport) -> list[Step]:
    """Return the stations of the loop with what happened at each."""
    made = [
        _recordings_step(report.recordings),
        _selection_step(report),
        _labels_step(report),
        _training_step(report),
        _simulation_step(report),
        _gate_step(report),
        _issues_step(report),
    ]
    return [step for step in made if step is not None]


def _slice_headline(line: SliceLine | None) -> str:
    """Return the main result as one sentence; empty when there is none."""
    if line is None or line.before is None or line.after is None:
        return ""
    name = line.name[:1].upper() + line.name[1:]
    before, after = score(line.before.value), score(line.after.value)
    if before == after:
        return f"{name}: unchanged at {after}"
    verb = "up" if line.after.value > line.before.value else "down"
    return f"{name}: {verb} from {before} to {after}"


def _slice_support(report: TurnReport) -> str:
    """Say what the headline's figure is and how sure it is."""
    line = main_slice(report)
    if line is None or line.before is None or line.after is None:
        return ""
    sure = {
        "good": "they do not overlap",
        "bad": "they do not overlap",
    }.get(direction(line.before, line.after), "they overlap, so this may be chance")
    return (
        f"Average precision on {plural(line.num_frames, 'frame')} that no turn trained on; 95 % "
        f"intervals {line.before.low:.2f}–{line.before.high:.2f} before and "
        f"{line.after.low:.2f}–{line.after.high:.2f} after: {sure}."
    )


def _metric_sentence(report: TurnReport) -> str:
    """Return the overall figure, for a turn without a targeted slice."""
    if report.after is None:
        return ""
    frames = plural(report.after.num_frames, "test frame")
    return f"Mean average precision {interval(report.after.mean_ap)} on {frames}."


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _simulation_sentence(report: TurnReport) -> str:
    total = len(report.scenarios)
    if not total or all(line.candidate is None for line in report.scenarios):
        return ""
    sentence = (
        f"In simulation the candidate passes {num_passed(report, 'candidate')} of {total} scenarios"
    )
    if any(line.champion is not None for line in report.scenarios):
        sentence += f"; the champion before passed {num_passed(report, 'champion')}"
    return sentence + "."


def _recordings_step(lines: tuple[RecordingLine, ...]) -> Step | None:
    if not lines:
        return None
    reused = sum(line.reused for line in lines)
    refused = sum(line.status == "quarantined" for line in lines)
    parts = [plural(sum(line.num_sweeps for line in lines), "sweep")]
    if reused:
        parts.append(f"{reused} reused unchanged")
    if refused:
        parts.append(f"{refused} quarantined")
    return Step("Drives in", plural(len(lines), "drive"), ", ".join(parts))


def _selection_step(report: TurnReport) -> Step | None:
    arms: Counter[str] = Counter()
    for line in report.selection_counts:
        arms[line.arm] += line.num_frames
    if not arms:
        return None
    total = sum(arms.values())
    note = f"{arms['issue']} of them by open issues" if arms["issue"] else "no issue was open"
    return Step("Chosen to label", plural(total, "frame"), note)


def _labels_step(report: TurnReport) -> Step | None:
    labels = report.labels
    if labels is None:
        return None
    return Step("Labelled", plural(labels.num_frames, "frame"), plural(labels.num_boxes, "box"))


def _training_step(report: TurnReport) -> Step | None:
    training = report.training
    if training is None:
        return None
    if training.reused:
        return Step("Trained", "reused", "same data and settings as before")
    note = f"{training.iterations:,} iterations on {training.device}"
    return Step("Trained", duration(training.seconds), note)


def _simulation_step(report: TurnReport) -> Step | None:
    total = len(report.scenarios)
    if not total:
        return None
    passed = num_passed(report, "candidate")
    before = num_passed(report, "champion")
    driven = any(line.champion is not None for line in report.scenarios)
    tone = "good" if passed == total else "bad" if driven and passed < before else "quiet"
    note = f"scenarios passed, {before} before" if driven else "scenarios passed"
    return Step("Simulated", f"{passed} of {total}", note, tone)


def _gate_step(report: TurnReport) -> Step | None:
    gate = report.gate
    if gate is None:
        return None
    held = sum(reason.passed for reason in gate.reasons)
    note = f"{held} of {len(gate.reasons)} rules hold"
    word, tone = ("released", "good") if gate.approved else ("refused", "bad")
    return Step("Gate", word, note, tone)


def _issues_step(report: TurnReport) -> Step | None:
    if not report.issues:
        return None
    still = sum(issue.state == "open" for issue in report.issues)
    chosen = sum(issue.num_selected for issue in report.issues)
    note = f"{plural(chosen, 'frame')} chosen for the next labels" if chosen else "none chosen yet"
    return Step("Fed back", f"{still} open", note)
