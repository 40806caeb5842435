"""The page `docs/rules.md`: all rules as a table, made from the registry.

`python -m recordings.rules.page` writes it; a test holds it against the registry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recordings.rules.quality import SUBJECTS

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
_HEAD: Final = """# Sanity rules

Every recording is held against these rules while it is read: by `starloop ingest`, where each
subject is a blocking check of the asset `sweeps`, and by `starloop check PATH`, which writes
nothing. An **error** quarantines the recording, because what comes after would be wrong in every
frame; a **warning** is shown, and the recording goes on. Codes never change their meaning.
Thresholds stand in `recordings/rules/`, each with its reason. This page is written by
`python -m recordings.rules.page`.
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for subject, rules in SUBJECTS.items():
        parts.append(f"\n## {subject.capitalize()}\n\n")
        parts.append(
            "| code | severity | what is wrong | what to do |\n| --- | --- | --- | --- |\n"
        )
        ordered = sorted(rules, key=lambda rule: rule.code)
        parts += [
            f"| {rule.code} | {rule.severity} | {rule.title} | {rule.remedy} |\n"
            for rule in ordered
        ]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
