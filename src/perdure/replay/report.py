"""A mismatch as one screen of text, the same in logs, task failures, command line and UI (R-51).

Pure: source lines come from a function that the caller hands in, so that reading files (or not)
is the shell's business. Shows names, types and ids only, never payloads.

What is not here: colours, and links to a running UI.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from perdure.replay.commands import CallSite, Frame
from perdure.replay.events import MARKER_RECORDED, type_name
from perdure.replay.facts import FOREIGN_MARKERS
from perdure.replay.markers import PATCH_MARKER
from perdure.replay.mismatch import CommandFact, EventFact, Mismatch, Rule

CODE: Final = "[TMPRL1100]"
"""The rule number that people search for."""

_MAX_ROWS: Final = 14
_MAX_CELL: Final = 44


def no_source(_filename: str, _line: int) -> str | None:
    """For callers that must not read files."""
    return None


def render(mismatch: Mismatch, source: Callable[[str, int], str | None] = no_source) -> str:
    """The report.

    Args:
        mismatch: What replay found.
        source: `(filename, line number) -> text of that line`; `linecache.getline` will do.

    Example:
        `render(engine.mismatch, linecache.getline)`
    """
    parts = [f"{CODE} Nondeterminism: {_verdict(mismatch)}"]
    site = mismatch.command.site if mismatch.command is not None else None
    if site:
        parts.append(_site(site, source))
    parts.append(_columns(mismatch))
    parts.append(f"Probable cause: {cause(mismatch)}")
    return "\n\n".join(parts)


def _fact(fact: EventFact | CommandFact) -> str:
    if fact.event_type == MARKER_RECORDED and fact.name == PATCH_MARKER:
        return f"patch marker {fact.id!r}"
    inside = " ".join(part for part in (fact.name, f"id {fact.id}" if fact.id else "") if part)
    return f"{type_name(fact.event_type)}({inside})"


_SENTENCES: Final[dict[Rule, str]] = {
    Rule.NO_COMMAND: "but the code issued no further command in that workflow task",
    Rule.PATCH_MISSING: "but the code no longer calls workflow.patched() for it",
    Rule.FOREIGN_MARKER: "which only an SDK of another language writes",
    Rule.LOCAL_ACTIVITY: "but the code did not run that local activity here, or it ended otherwise",
    Rule.UNKNOWN_OPERATION: "but the code never started what it belongs to",
}


def _verdict(mismatch: Mismatch) -> str:
    event = f"history event {mismatch.event.event_id} is {_fact(mismatch.event)}"
    if mismatch.rule in _SENTENCES:
        return f"{event}, {_SENTENCES[mismatch.rule]}"
    if mismatch.difference is not None:
        difference = mismatch.difference
        return (
            f"{event}, with {difference.attribute} {difference.in_history!r}; "
            f"the code has {difference.in_code!r}"
        )
    if mismatch.command is None:
        return event
    command = _fact(mismatch.command)
    if mismatch.rule is Rule.LEFTOVER_COMMAND:
        return f"{event}, but an earlier task of this code issued {command}, not in history"
    return f"{event}, but the code issued {command}"


def _position(frame: Frame) -> tuple[int, int]:
    """Line and column (from 1) of a frame, as well as the code object knows them."""
    for index, (line, _, column, _) in enumerate(frame.code.co_positions()):
        if index == frame.lasti // 2:
            return line or frame.code.co_firstlineno, (column or 0) + 1
    return frame.code.co_firstlineno, 1


def _site(site: CallSite, source: Callable[[str, int], str | None]) -> str:
    lines: list[str] = []
    for depth, frame in enumerate(site):
        line, column = _position(frame)
        where = f"{frame.code.co_filename}:{line}:{column}"
        lines.append(
            f"{'at' if depth == 0 else '  called from'} {where} in {frame.code.co_qualname}"
        )
        if depth == 0:
            lines += _excerpt(frame.code.co_filename, line, column, source)
    return "\n".join(lines)


def _excerpt(
    filename: str, line: int, column: int, source: Callable[[str, int], str | None]
) -> list[str]:
    shown: list[str] = []
    for number in (line - 1, line, line + 1):
        text = source(filename, number) if number > 0 else None
        if not text:
            continue
        mark = ">" if number == line else " "
        shown.append(f"  {mark} {number:>5} | {text.rstrip()}")
        if number == line:
            shown.append(f"            {' ' * (column - 1)}^")
    return shown


def _key(fact: EventFact | CommandFact) -> tuple[int, str, str]:
    return fact.event_type, fact.name, fact.id


def _columns(mismatch: Mismatch) -> str:
    """History and code side by side; = same, ≠ differs, - only in history, + only in code."""
    rows = _align(mismatch.task_events, mismatch.task_commands)
    bad = next((i for i, (sign, _, _) in enumerate(rows) if sign != "="), 0)
    start = max(0, min(bad - 3, len(rows) - _MAX_ROWS))
    shown = rows[start : start + _MAX_ROWS]
    head = f"Workflow task started by event {mismatch.task_started_event_id}:"
    lines = [head, f"    {'history':<{_MAX_CELL}}  code"]
    if start:
        lines.append(f"    … {start} equal before")
    for sign, event, command in shown:
        left = f"{event.event_id:>4} {_fact(event)}" if event else ""
        right = _fact(command) if command else ""
        lines.append(f"  {sign} {_clip(left):<{_MAX_CELL}}  {_clip(right)}".rstrip())
    hidden = len(rows) - start - len(shown)
    if hidden:
        lines.append(f"    … {hidden} more")
    return "\n".join(lines)


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…"


Row = tuple[str, EventFact | None, CommandFact | None]


def _align(events: Sequence[EventFact], commands: Sequence[CommandFact]) -> list[Row]:
    from difflib import SequenceMatcher  # only a mismatch needs it, and workers seldom see one

    left, right = [_key(event) for event in events], [_key(command) for command in commands]
    rows: list[Row] = []
    for tag, e1, e2, c1, c2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal":
            rows += [("=", e, c) for e, c in zip(events[e1:e2], commands[c1:c2], strict=True)]
            continue
        paired = min(e2 - e1, c2 - c1)
        rows += [("≠", events[e1 + i], commands[c1 + i]) for i in range(paired)]
        rows += [("-", event, None) for event in events[e1 + paired : e2]]
        rows += [("+", None, command) for command in commands[c1 + paired : c2]]
    return rows


def cause(mismatch: Mismatch) -> str:
    """The most likely reason, and what to do about it: a first guess (R-51)."""
    special = _special_cause(mismatch)
    if special is not None:
        return special
    before = [(event.event_type, event.name) for event in mismatch.task_events]
    now = [(command.event_type, command.name) for command in mismatch.task_commands]
    in_history, in_code = Counter(before), Counter(now)
    if before == now:
        return _id_advice(mismatch)
    if in_history == in_code:
        return (
            "the same commands in another order. Sets, dictionaries from outside, or tasks woken in "
            "another order (asyncio.wait, an older wait_for) are the usual reasons: iterate over "
            "something sorted."
        )
    if not in_history - in_code:
        return _patch_advice(mismatch, "the code issues a command that it did not issue before")
    if not in_code - in_history:
        return _patch_advice(mismatch, "the code no longer issues a command that history has")
    return _patch_advice(mismatch, "the code was changed after this workflow had started")


def _special_cause(mismatch: Mismatch) -> str | None:
    if mismatch.rule is Rule.FOREIGN_MARKER:
        writer = FOREIGN_MARKERS.get(mismatch.event.name, "another SDK")
        return (
            f"the history was written by {writer}; a workflow can only be replayed by the language "
            "that started it."
        )
    if mismatch.rule is Rule.PATCH_MISSING:
        return (
            f'a patch was removed too early. Put workflow.deprecate_patch("{mismatch.event.id}") '
            "where patched() was, and delete it when no open workflow has the marker any more."
        )
    name, version = mismatch.history_sdk
    if name and name != mismatch.our_sdk[0] and not mismatch.task_commands:
        return f"the history was written by {name} {version}, and the code issued nothing here."
    return None


def _id_advice(mismatch: Mismatch) -> str:
    if mismatch.difference is None:
        return _patch_advice(mismatch, "the code was changed after this workflow had started")
    return (
        "an id that is not derived from workflow state. Take ids from workflow.uuid4() or from "
        "the input; note that one more random call shifts all later ones."
    )


def _patch_advice(mismatch: Mismatch, reason: str) -> str:
    fact = mismatch.command or mismatch.event
    return (
        f"{reason} ({_fact(fact)}). Keep both ways for workflows that are already open:\n"
        '    if workflow.patched("my-change"):\n'
        "        ...  # new code\n"
        "    else:\n"
        "        ...  # what history expects"
    )
