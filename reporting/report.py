"""The report of one turn as one self-contained page."""

from __future__ import annotations

import base64
from collections import Counter
from functools import cache
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from reporting import charts, wording
from reporting.markdown import render_markdown
from reporting.model import CategoryScore, Interval, Link, Picture, TurnReport

__all__ = ["render_html", "render_markdown"]

_OPEN_UP_TO = 8  # longer lists are folded


def render_html(report: TurnReport) -> str:
    """Return one HTML file that needs nothing else: style, pictures and charts are inside.

    Follows the reader's light or dark setting and makes no request to anywhere.
    """
    return _template().render(
        report=report,
        verdict=wording.verdict(report),
        steps=wording.steps(report),
        main_slice=wording.main_slice(report),
        ranges=_ranges(report),
        arms=_arms(report),
        categories=_categories(report),
        links=[link for link in report.links if _harmless(link)],
        open_up_to=_OPEN_UP_TO,
    )


@cache
def _template() -> jinja2.Template:
    """Return the compiled page with its helpers."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers = {
        name: getattr(wording, name)
        for name in (
            "score", "interval", "change", "direction", "count", "plural", "duration", "spoken",
            "measured", "run_tone", "run_label", "run_detail", "num_passed",
        )
    }  # fmt: skip
    environment.globals.update(
        **helpers,
        before_after=charts.before_after,
        history=charts.history,
        loss_curve=charts.loss_curve,
        picture=_picture,
    )
    return environment.get_template("report.html.j2")


def _picture(picture: Picture) -> Markup:
    """Return a data URI."""
    text = base64.b64encode(picture.png).decode()
    return Markup(f"data:image/png;base64,{text}")  # noqa: S704 - base64 needs no escaping


def _categories(
    report: TurnReport,
) -> list[tuple[str, int, Interval | None, Interval | None]]:
    """Return (category, labels, before, after) in the order of the candidate."""
    before, after = _by_category(report)
    return [
        (
            name,
            (after.get(name) or before[name]).num_boxes,
            before[name].ap if name in before else None,
            after[name].ap if name in after else None,
        )
        for name in dict.fromkeys([*after, *before])
    ]


def _ranges(
    report: TurnReport,
) -> tuple[list[str], list[tuple[str, list[tuple[Interval | None, Interval | None]]]]]:
    """Return the range bins as texts, and for each category the pairs before and after."""
    before, after = _by_category(report)
    bins = dict.fromkeys(
        (r.range_min_m, r.range_max_m)
        for scores in (after, before)
        for c in scores.values()
        for r in c.ranges
    )
    found = [
        {(name, r.range_min_m, r.range_max_m): r.ap for name, c in scores.items() for r in c.ranges}
        for scores in (before, after)
    ]
    rows = [
        (name, [(found[0].get((name, *b)), found[1].get((name, *b))) for b in bins])
        for name in dict.fromkeys([*after, *before])
    ]
    return [f"{low:.0f}–{high:.0f} m" for low, high in bins], rows


def _by_category(
    report: TurnReport,
) -> tuple[dict[str, CategoryScore], dict[str, CategoryScore]]:
    """Return the category scores of champion and candidate by name."""
    before, after = (
        {} if metrics is None else {c.category: c for c in metrics.categories}
        for metrics in (report.before, report.after)
    )
    return before, after


def _arms(report: TurnReport) -> list[tuple[str, int, float]]:
    """Return (arm, frames, percent) of the selection, in the order given."""
    frames: Counter[str] = Counter()
    for line in report.selection_counts:
        frames[line.arm] += line.num_frames
    total = sum(frames.values()) or 1
    return [(arm, number, 100.0 * number / total) for arm, number in frames.items()]


def _harmless(link: Link) -> bool:
    """Return whether a link goes to a page or a file and runs nothing."""
    return urlsplit(link.href).scheme in {"", "http", "https", "file"}
