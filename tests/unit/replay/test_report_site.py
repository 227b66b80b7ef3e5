"""Where in the code a mismatch came from, as the report shows it."""

from __future__ import annotations

import dis
from types import CodeType

import msgspec
import pytest

from perdure.replay.commands import CallSite, Frame
from perdure.replay.mismatch import Mismatch
from perdure.replay.report import no_source, render
from tests.unit.replay.build import Driver, Events, activity, script, timer

INNER = ["async def charge():", "    before()", "    return wait(1)", "    after()"]
OUTER = ["def flow(): pass", "x = 1; charge(x)"]


def frame(lines: list[str], filename: str, function: str = "") -> Frame:
    """A frame that stands in the last call of a module, or of a function in it."""
    code = compile("\n".join(lines), filename, "exec")
    if function:
        inner = [each for each in code.co_consts if isinstance(each, CodeType)]
        (code,) = [each for each in inner if each.co_name == function]
    calls = [each.offset for each in dis.get_instructions(code) if each.opname == "CALL"]
    return Frame(code, calls[1] if function else calls[-1])


SITE: CallSite = (frame(INNER, "shop.py", "charge"), frame(OUTER, "main.py"))


def mismatch(site: CallSite | None) -> Mismatch:
    events = Events().start().completed()
    events.activity()
    events.signal().task()
    code = msgspec.structs.replace(timer(), site=site)
    found = Driver(script([code])).replay(events).engine.mismatch
    assert found is not None
    return found


def source(filename: str, line: int) -> str | None:
    lines = {"shop.py": INNER, "main.py": OUTER}[filename]
    return f"{lines[line - 1]}\n" if 0 < line <= len(lines) else None


def site_lines(found: Mismatch) -> list[str]:
    return render(found, source).split("\n\n")[1].splitlines()


def test_the_innermost_line_is_shown_with_its_neighbours() -> None:
    assert site_lines(mismatch(SITE)) == [
        "at shop.py:3:12 in charge",
        "        2 |     before()",
        "  >     3 |     return wait(1)",
        "                       ^",
        "        4 |     after()",
        "  called from main.py:2:8 in <module>",
    ]


def test_at_the_edges_of_a_file_only_what_is_there_is_shown() -> None:
    first = frame(["wait(2)", "more()", ""][:1], "main.py")
    assert site_lines(mismatch((first,)))[:2] == [
        "at main.py:1:1 in <module>",
        "  >     1 | def flow(): pass",
    ]
    assert site_lines(mismatch((SITE[1],))) == [
        "at main.py:2:8 in <module>",
        "        1 | def flow(): pass",
        "  >     2 | x = 1; charge(x)",
        "                   ^",
    ]


def test_no_line_before_the_first_is_asked_for() -> None:
    asked: list[int] = []

    def note(_filename: str, line: int) -> None:
        asked.append(line)

    render(mismatch((frame(["wait(2)"], "main.py"),)), note)
    assert asked == [1, 2]


@pytest.mark.parametrize("site", [None, ()])
def test_without_a_place_there_is_no_such_part(site: CallSite | None) -> None:
    text = render(mismatch(site))
    assert "at " not in text.split("\n\n")[1].splitlines()[0]
    assert len(text.split("\n\n")) == 3


def test_without_source_the_place_alone_is_named() -> None:
    text = render(mismatch(SITE), no_source).split("\n\n")[1]
    assert text == "at shop.py:3:12 in charge\n  called from main.py:2:8 in <module>"


def test_a_place_that_the_code_does_not_know_is_its_first_line() -> None:
    beyond = Frame(SITE[0].code, 10_000)
    text = render(mismatch((beyond,)), no_source).split("\n\n")[1]
    assert text == "at shop.py:1:1 in charge"


def test_the_difference_of_an_id_is_told_with_both() -> None:
    events = Events().start().completed()
    events.activity("other")
    found = Driver(script([activity()])).replay(events).engine.mismatch
    assert found is not None
    assert render(found).splitlines()[0] == (
        "[TMPRL1100] Nondeterminism: history event 5 is ActivityTaskScheduled(charge id other), "
        "with activity id 'other'; the code has '1'"
    )
