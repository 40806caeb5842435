"""The registry is whole, and the page in the docs says the same."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

import recordings.rules
from recordings.rules.page import PAGE, page
from recordings.rules.quality import RULES, SUBJECTS
from recordings.rules.rule import Rule


def test_codes_are_unique_and_texts_are_one_line() -> None:
    everything = [rule for rules in SUBJECTS.values() for rule in rules]
    assert len(everything) == len(RULES) >= 60
    for rule in everything:
        assert re.fullmatch(r"REC\d{3}", rule.code)
        assert rule.title
        assert rule.remedy
        assert not set("\n|") & set(rule.title + rule.remedy)


def test_every_rule_that_is_written_is_listed() -> None:
    written = {
        value.code
        for module in pkgutil.iter_modules(recordings.rules.__path__)
        if module.name.endswith("_rules")
        for value in vars(import_module(f"recordings.rules.{module.name}")).values()
        if isinstance(value, Rule)
    }
    assert written == set(RULES)


def test_meanings_of_the_first_codes_stay() -> None:
    errors = {code for code, rule in RULES.items() if rule.severity == "error" and code < "REC015"}
    assert errors == {"REC001", "REC002", "REC004", "REC005", "REC009"}
    assert RULES["REC013"].title == "the ground is not near z = 0"


def test_the_page_in_the_docs_is_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m recordings.rules.page"
