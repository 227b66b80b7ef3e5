"""Rules that comments cite are in `docs/semantics`, with the tests that pin them.

An id is cited as `S-4`; numbers of documents outside the repository are not cited at all.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy import source

PAGES = source.ROOT / "docs" / "semantics"
PREFIXES = {"S": "server.md", "R": "replay.md", "D": "durability.md"}
CITED = re.compile(r"(?<![\w/-])([SRD]-\d{1,3})(?![\w-])")
HEADING = re.compile(r"^### ([A-Z]-\d+)$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w./]+)(?:::(\w+))?`")
OLD_FORMS = re.compile(
    r"\b[Rr]ules?\s+\d|\b[Tt]raps?\s+\d|\bDESIGN\b|§|(?<![\w%./\\-])D\d{1,2}(?![\w(-])(?!\.\w)"
)
SUFFIXES = {".py", ".md", ".toml", ".txt"}
PLACES = ("src", "tests", "docs")


def _texts() -> list[tuple[str, str]]:
    """(path, text) of everything that may cite a rule, but for this file."""
    found: list[tuple[str, str]] = []
    for path in source.tracked_files():
        shown = path.relative_to(source.ROOT)
        is_searched = shown.parts[0] in PLACES or len(shown.parts) == 1
        if is_searched and path.suffix in SUFFIXES and path != Path(__file__).resolve():
            found.append((str(shown), path.read_text(encoding="utf-8")))
    return found


def _rules() -> dict[str, str]:
    """Each rule's id and its text."""
    rules: dict[str, str] = {}
    for page in PREFIXES.values():
        parts = HEADING.split((PAGES / page).read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            assert name not in rules, f"{name} is there twice"
            rules[name] = text
    return rules


def test_each_rule_is_on_the_page_of_its_prefix():
    for prefix, page in PREFIXES.items():
        names = HEADING.findall((PAGES / page).read_text(encoding="utf-8"))
        assert names, page
        assert [name for name in names if not name.startswith(f"{prefix}-")] == []


def test_each_rule_has_a_source_and_its_tests():
    incomplete = [
        name
        for name, text in _rules().items()
        if "\n- Source: " not in text
        or not (TEST.search(text) or "- Tests: not pinned by a test of its own" in text)
    ]
    assert incomplete == []


def test_cited_rules_exist():
    rules = _rules()
    texts = _texts()
    wrong = [
        f"{path}: {name} is not in docs/semantics"
        for path, text in texts
        for name in CITED.findall(text)
        if name not in rules
    ]
    assert wrong == []
    assert any(path.startswith("src/") and CITED.search(text) for path, text in texts)


def test_no_document_outside_the_repository_is_cited():
    wrong = [
        f"{path}:{text.count(chr(10), 0, found.start()) + 1}: {found.group()!r}; cite an id of docs/semantics"
        for path, text in _texts()
        for found in OLD_FORMS.finditer(text)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "is_old"),
    [
        ("as rule 4 says", True),
        ("(rules\n22 to 24)", True),
        ("Trap 5", True),
        ("(D6, D8)", True),
        ("§1.7", True),
        ("S-4 and R-5, by a rule", False),
        ("%D10, 0xD8, D-6", False),
    ],
)
def test_old_forms_are_recognised(text: str, is_old: bool):
    assert bool(OLD_FORMS.search(text)) == is_old


def test_tests_named_with_rules_exist():
    missing: list[str] = []
    for name, text in _rules().items():
        for path, function in TEST.findall(text):
            file = source.ROOT / path
            if not file.is_file():
                missing.append(f"{name}: {path}")
            elif function and f"def {function}(" not in file.read_text(encoding="utf-8"):
                missing.append(f"{name}: {path}::{function}")
    assert missing == []
