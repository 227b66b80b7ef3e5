"""Prose is plain English: phrases that have a better form, and one style of section marks."""

from __future__ import annotations

import re

from tests.tidy import source

PLAIN = (
    (re.compile(r"\bcan\s+not\b", re.IGNORECASE), 'write "cannot"'),
    (re.compile(r"\bfor\s+ever\b", re.IGNORECASE), 'write "forever", or say until when'),
    (re.compile(r"\bwhoever\b", re.IGNORECASE), "say who"),
    (re.compile(r"\bnobody\s+knows\b", re.IGNORECASE), "say what is unknown"),
    (re.compile(r"\bsee\s+the\s+module\b", re.IGNORECASE), "say what the class is"),
    (re.compile(r"\b(?:he|him|his)\b"), "name the caller, the worker or the object"),
    (re.compile(r"(?<!`)``(?!`)"), "write one backtick on each side"),
)
REFERENCE_TEXTS = (
    # Error text of the reference server that users match on.
    "workflow operation can not be applied because workflow is closing",
)
SECTION = re.compile(r"^ *# (?:[-=─~*#]{2,}|.*[-=─~*#]{4,}$)")
SECTION_WIDTH = 100


def _prose() -> list[tuple[str, str]]:
    pages = [
        path
        for path in source.tracked_files()
        if path.suffix == ".md" and "tests" not in path.relative_to(source.ROOT).parts
    ]
    texts = [(str(path.relative_to(source.ROOT)), path.read_text("utf-8")) for path in pages]
    return texts + [(module.shown, module.text) for module in source.modules()]


def test_phrases_with_a_plainer_form():
    found: list[str] = []
    for shown, text in _prose():
        for exact in REFERENCE_TEXTS:
            text = text.replace(exact, "")  # noqa: PLW2901
        found += [
            f"{shown}: {' '.join(match.group().split())!r}: {advice}"
            for pattern, advice in PLAIN
            for match in pattern.finditer(text)
        ]
    assert found == []


def test_texts_of_the_reference_are_still_used():
    code = "".join(module.text for module in source.modules())
    assert [text for text in REFERENCE_TEXTS if text not in code] == []


def test_section_marks_have_one_style():
    wrong = [
        f"{module.shown}:{number}: {line.strip()}; write '# ── title ───…' up to column 100"
        for module in source.modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if SECTION.search(line)
        and not (re.fullmatch(r" *# ── \S.* ─+", line) and len(line) == SECTION_WIDTH)
    ]
    assert wrong == []
