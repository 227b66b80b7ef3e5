"""Documentation is alive: relative links lead somewhere and Python in code fences is valid Python."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from tests.tidy import source

PAGES = [p for p in source.tracked_files() if p.suffix == ".md"]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
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
