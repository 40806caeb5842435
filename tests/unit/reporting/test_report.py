"""The page: self-contained, well-formed, honest, complete also when parts are missing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import pytest

from reporting import wording
from reporting.model import (
    GateReason,
    GateSummary,
    Interval,
    Link,
    RecordingLine,
    SliceLine,
    TurnReport,
)
from reporting.report import render_html, render_markdown
from scene.errors import FormatError

VOID = {"meta", "img", "br", "link", "path", "line", "circle", "polyline", "polygon"}


class Page(HTMLParser):
    """Checks nesting; collects texts, attributes and tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def test_the_page_says_what_happened(report: TurnReport) -> None:
    text = Page(render_html(report)).text
    for expected in (
        "Released",
        "Pedestrian near a parked vehicle: up from 0.04 to 0.46",
        "95 % intervals 0.01–0.07 before and 0.38–0.54 after",
        "the candidate passes 5 of 6 scenarios; the champion before passed 4",
        "collision at 22 km/h",
        "first missed in frame 31",
        "AP of car is not worse",
        "18 frames chosen for the next labels",
        "broken.veh01: quarantined.",
        "the recordings' own ground truth",
        "0.73 (0.67–0.79)",
        "no objects",
        "Dagster run",
    ):
        assert expected in text, expected


def test_the_page_asks_nobody_for_anything(report: TurnReport) -> None:
    html = render_html(report)
    page = Page(html)
    tags = {tag for tag, _, _ in page.attributes}
    assert not tags & {"script", "link", "iframe", "object", "embed"}
    for tag, name, value in page.attributes:
        if name in {"src", "href", "srcset"}:
            assert value.startswith("data:image/png;base64,") or tag == "a", value[:80]
        assert not name.startswith("on")
    assert "url(" not in html
    assert "@import" not in html


def test_text_from_data_cannot_become_markup(report: TurnReport) -> None:
    evil = "<script>alert(1)</script>"
    bad = dataclasses.replace(
        report,
        title=evil,
        data_note=evil,
        recordings=(RecordingLine(evil, evil, 1, 1, 1.0, "damaged", False, evil),),
        gate=GateSummary(False, (GateReason(False, evil),)),
        links=(Link(evil, "javascript:alert(1)"), Link("run", "https://example.org/a?b=1&c=2")),
    )
    html = render_html(bad)
    assert "<script" not in html
    assert "javascript:" not in html
    assert 'href="https://example.org/a?b=1&amp;c=2"' in html
    assert "&lt;script" in render_markdown(bad)


def test_an_empty_turn_is_a_page_too() -> None:
    empty = TurnReport(turn=0, title="Bootstrap")
    page = Page(render_html(empty))
    assert "This turn made no release decision" in page.text
    assert "nan" not in page.text.lower()
    assert render_markdown(empty).startswith("# Starloop: Bootstrap")


def test_the_first_turn_has_no_champion(report: TurnReport) -> None:
    first = dataclasses.replace(
        report,
        before=None,
        slices=tuple(dataclasses.replace(s, before=None, history=()) for s in report.slices),
        gate=GateSummary(True, (GateReason(True, "AP is above 0"),), "", "m-1"),
        scenarios=tuple(dataclasses.replace(s, champion=None) for s in report.scenarios),
    )
    page = Page(render_html(first))
    assert "The first model is released" in page.text
    assert "Mean average precision 0.60 (0.54–0.66) on 160 test frames." in page.text
    assert "not driven" in page.text
    assert "champion before passed" not in page.text
    assert "not measured" in render_markdown(first)


def test_a_refusal_comes_first_and_says_why(report: TurnReport) -> None:
    reasons = (GateReason(True, "fine"), GateReason(False, "AP of car fell by 0.21."))
    head = wording.verdict(dataclasses.replace(report, gate=GateSummary(False, reasons, "m-0")))
    assert (head.tone, head.label) == ("bad", "Refused")
    assert head.headline == "The candidate was refused; the champion stays"
    assert head.detail.startswith(
        "Refused because: AP of car fell by 0.21. Pedestrian near a parked vehicle: up from 0.04 "
    )


@pytest.mark.parametrize(
    ("after", "tone", "words"),
    [
        (Interval(0.50, 0.40, 0.60), "good", "they do not overlap"),
        (Interval(0.25, 0.15, 0.35), "quiet", "they overlap, so this may be chance"),
        (Interval(0.02, 0.00, 0.05), "bad", "they do not overlap"),
    ],
)
def test_a_change_is_called_one_only_outside_the_intervals(
    report: TurnReport, after: Interval, tone: str, words: str
) -> None:
    before = Interval(0.20, 0.10, 0.30)
    assert wording.direction(before, after) == tone
    line = SliceLine("pedestrian", before, after, 40)
    assert words in wording.verdict(dataclasses.replace(report, slices=(line,))).detail


def test_a_slice_that_fell_is_said_to_fall(report: TurnReport) -> None:
    line = SliceLine("car", Interval(0.6, 0.5, 0.7), Interval(0.4, 0.3, 0.5), 40)
    head = wording.verdict(dataclasses.replace(report, slices=(line,)))
    assert head.headline == "Car: down from 0.60 to 0.40"


def test_the_report_can_be_kept_as_json(report: TurnReport) -> None:
    text = json.dumps(report.to_dict(), allow_nan=False)
    back = TurnReport.from_dict(json.loads(text))
    assert render_html(back) == render_html(report)
    assert render_markdown(back) == render_markdown(report)
    assert back.pictures[0].png == report.pictures[0].png
    assert math.isnan(back.after.categories[1].ranges[2].ap.value)


@pytest.mark.parametrize(
    "change", [{"turn": "one"}, {"surprise": 1}, {"slices": [{"name": "a"}]}, {"gate": 5}]
)
def test_json_that_is_not_a_report_is_refused(report: TurnReport, change: dict) -> None:
    with pytest.raises(FormatError, match="turn report"):
        TurnReport.from_dict({**report.to_dict(), **change})


def test_markdown_tables_have_even_rows(report: TurnReport) -> None:
    text = render_markdown(report)
    blocks = [b for b in text.split("\n\n") if b.startswith("|")]
    assert len(blocks) >= 7
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1, block
    assert "| AP pedestrian | 0.06 (0.00–0.12) | 0.47 (0.41–0.53) | +0.41 |" in text


def test_a_bar_in_a_text_stays_in_its_cell(report: TurnReport) -> None:
    line = RecordingLine("a", "x", 1, 1, 1.0, "damaged", False, "left | right\nsecond line")
    text = render_markdown(dataclasses.replace(report, recordings=(line,)))
    assert "left \\| right second line |" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1"), (999, "999"), (9_999, "9,999"), (10_000, "10 k"), (999_499, "999 k"),
     (999_500, "1.0 M"), (1_234_567, "1.2 M")],
)  # fmt: skip
def test_counts(number: int, text: str) -> None:
    assert wording.count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10 s"), (75, "75 s"), (185.2, "3 min 05 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_plurals() -> None:
    assert wording.plural(1, "box") == "1 box"
    assert wording.plural(2, "box") == "2 boxes"
    assert wording.plural(0, "frame") == "0 frames"


def test_changes_have_a_sign() -> None:
    assert wording.change(Interval(0.5, 0, 1), Interval(0.4, 0, 1)) == "−0.10"
    assert wording.change(Interval(0.5, 0, 1), Interval(0.501, 0, 1)) == "±0.00"
    assert wording.change(None, Interval(0.5, 0, 1)) == ""
    assert wording.change(Interval(math.nan, 0, 1), Interval(0.5, 0, 1)) == ""
