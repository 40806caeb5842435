"""The report of one turn as Markdown, for Dagster's metadata and for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reporting import wording
from reporting.model import Interval, ModelMetrics, TurnReport


def render_markdown(report: TurnReport) -> str:
    """Return the content of the page without pictures and charts."""
    head = wording.verdict(report)
    parts = [
        f"# Starloop: {_plain(report.title)}",
        f"**{head.label}.** {_plain(head.headline)}.",
        _plain(head.detail),
        f"*{_plain(report.data_note)}*" if report.data_note else "",
        _table(
            ("Step", "Result", "Detail"),
            ((s.name, s.figure, s.note) for s in wording.steps(report)),
        ),
        *_slices(report),
        *_metrics(report),
        *_gate(report),
        *_scenarios(report),
        *_issues(report),
        *_inputs(report),
        *_timings(report),
        " · ".join(f"[{_plain(link.label)}]({link.href})" for link in report.links),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _slices(report: TurnReport) -> list[str]:
    if not report.slices:
        return []
    rows = (
        (s.name, wording.interval(s.before), wording.interval(s.after),
         wording.change(s.before, s.after), str(s.num_frames))
        for s in report.slices
    )  # fmt: skip
    header = ("Slice", "Before", "After", "Change", "Frames")
    note = "Average precision (95 % interval) on frames that no turn trained on."
    return ["## The weaknesses it worked on", note, _table(header, rows)]


def _metrics(report: TurnReport) -> list[str]:
    if report.after is None:
        return []
    before, after = report.before, report.after
    rows = [
        _metric_row("mAP", before and before.mean_ap, after.mean_ap),
        _metric_row("NDS", before and before.nds, after.nds),
    ]
    known = {} if before is None else {c.category: c.ap for c in before.categories}
    rows += [_metric_row(f"AP {c.category}", known.get(c.category), c.ap) for c in after.categories]
    note = f"On {wording.plural(after.num_frames, 'test frame')}; 95 % bootstrap intervals."
    header = ("Metric", "Before", "After", "Change")
    return ["## Detector", note, _table(header, rows), *_ranges(after), *_conditions(after)]


def _ranges(after: ModelMetrics) -> list[str]:
    rows = [
        (c.category, f"{r.range_min_m:.0f}–{r.range_max_m:.0f} m", wording.interval(r.ap))
        for c in after.categories
        for r in c.ranges
    ]
    return [_table(("Category", "Distance", "AP after"), rows)] if rows else []


def _conditions(after: ModelMetrics) -> list[str]:
    rows = [
        (c.name, wording.interval(c.ap), wording.interval(c.found), str(c.num_boxes))
        for c in after.conditions
    ]
    header = ("Condition", "AP after", "Found after", "Objects")
    return [_table(header, rows)] if rows else []


def _metric_row(
    name: str, before: Interval | None, after: Interval | None
) -> tuple[str, str, str, str]:
    return (
        name,
        wording.interval(before),
        wording.interval(after),
        wording.change(before, after),
    )


def _gate(report: TurnReport) -> list[str]:
    gate = report.gate
    if gate is None:
        return []
    word = "released" if gate.approved else "refused"
    lines = "\n".join(f"- {'✓' if r.passed else '✗'} {_plain(r.text)}" for r in gate.reasons)
    return [f"## Gate: {word}", lines]


def _scenarios(report: TurnReport) -> list[str]:
    if not report.scenarios:
        return []
    rows = (
        (s.title, wording.run_label(s.champion), wording.run_label(s.candidate),
         wording.run_detail(s.candidate), "passes" if s.ground_truth_passes else "fails")
        for s in report.scenarios
    )  # fmt: skip
    header = ("Scenario", "Champion", "Candidate", "Candidate in detail", "Perfect perception")
    return ["## Simulation", _table(header, rows)]


def _issues(report: TurnReport) -> list[str]:
    if not report.issues:
        return []
    rows = ((i.issue_id, i.title, i.state, i.evidence, str(i.num_selected)) for i in report.issues)
    header = ("Issue", "Weakness", "State", "Evidence", "Frames for the next labels")
    return ["## Issues", _table(header, rows)]


def _inputs(report: TurnReport) -> list[str]:
    parts = ["## What went in"]
    rows = (
        (r.recording, r.format, str(r.num_sweeps), wording.duration(r.duration_s),
         r.status + (", reused" if r.reused else ""), r.message)
        for r in report.recordings
    )  # fmt: skip
    if report.recordings:
        header = ("Recording", "Format", "Sweeps", "Length", "Status", "Message")
        parts.append(_table(header, rows))
    if report.selection_counts:
        counts = ((c.arm, c.reason, str(c.num_frames)) for c in report.selection_counts)
        parts.append(_table(("Chosen by", "Reason", "Frames"), counts))
    if report.labels is not None:
        parts.append(f"Labels: {_plain(report.labels.note)}")
    if report.dataset is not None:
        d = report.dataset
        parts.append(
            f"Dataset `{d.digest[:12]}`: {d.num_train} training, {d.num_test} test, {d.num_sim} "
            f"simulated frames (trained on, never tested), split by {d.split_unit}. "
            f"{_plain(d.warning)}".strip()
        )
    return parts if len(parts) > 1 else []


def _timings(report: TurnReport) -> list[str]:
    if not report.timings:
        return []
    rows = ((t.stage, wording.duration(t.seconds), t.note) for t in report.timings)
    return ["## Time", _table(("Stage", "Wall time", "Note"), rows)]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return text that stays in one table cell and is not taken for markup."""
    return text.replace("\n", " ").replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
