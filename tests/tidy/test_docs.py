"""Documentation is true where a test can tell: its links, code, commands and files exist, and none is left out.

Only the pages for contributors are searched for files: the others name files of the reader's own.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from tests.tidy import source

PAGES = [p for p in source.tracked_files() if p.suffix == ".md"]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CONTRIBUTORS_PAGES = [source.ROOT / "CONTRIBUTING.md", source.ROOT / "ARCHITECTURE.md"]
FILE = re.compile(r"`([\w.]+/[\w./-]+)`")
MAKE = re.compile(r"(?:`|^)make ([a-z][a-z-]*)", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return str(page.relative_to(source.ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page: Path):
    broken = [
        target
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:|#", target)
        and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_in_documentation_parses(page: Path):
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    # Snippets may stand inside a coroutine.
    broken = [
        block
        for block in blocks
        if not _parses(block) and not _parses("async def _():\n" + textwrap.indent(block, "    "))
    ]
    assert broken == []


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def test_error_pages_exist_for_each_code_that_messages_name():
    """A code such as TMPRL1100 in a message must be explained in docs/errors."""
    pages = {path.stem.upper() for path in (source.ROOT / "docs" / "errors").glob("*.md")}
    codes = {
        code for module in source.modules() for code in re.findall(r"\[(TMPRL\d{4})\]", module.text)
    }
    assert codes <= pages, f"explain in docs/errors: {sorted(codes - pages)}"


def _contributing() -> str:
    return (source.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def _targets() -> set[str]:
    return set(TARGET.findall((source.ROOT / "Makefile").read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", CONTRIBUTORS_PAGES, ids=_name)
def test_named_files_exist(page: Path):
    folders = (source.ROOT, source.PACKAGE)
    missing = [
        name
        for name in FILE.findall(page.read_text(encoding="utf-8"))
        if not any((folder / name).exists() for folder in folders)
    ]
    assert missing == []


def test_named_make_targets_exist():
    wrong = [
        f"{_name(page)}: make {name}"
        for page in PAGES
        for name in MAKE.findall(page.read_text(encoding="utf-8"))
        if name not in _targets()
    ]
    assert wrong == []


def test_each_make_target_is_explained():
    assert _targets() - set(MAKE.findall(_contributing())) - {"help"} == set()


def test_each_folder_of_tests_is_explained():
    folders = {
        path.relative_to(source.ROOT).parts[1]
        for path in source.tracked_files()
        if path.is_relative_to(source.ROOT / "tests") and path.name.startswith("test_")
    }
    text = _contributing()
    assert [name for name in sorted(folders) if f"`tests/{name}`" not in text] == []
