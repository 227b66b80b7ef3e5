"""Nondeterminism as data: what history says, what the code did, and where.

Invariants: names, types and ids only, never payloads; complete enough to draw both sequences of
the workflow task side by side without the history at hand.

What is not here: text for people (`report`), and the decision to look (`matching`).
"""

from __future__ import annotations

import enum

import msgspec

from perdure.replay.commands import CallSite


class Rule(enum.StrEnum):
    """Which rule of replay was broken."""

    NO_COMMAND = "no_command"
    """History has an event, the code issued nothing more in this task."""
    WRONG_COMMAND = "wrong_command"
    """The code issued another kind of command."""
    LEFTOVER_COMMAND = "leftover_command"
    """A command of an earlier task never appeared in history; it is in the way now."""
    ATTRIBUTE = "attribute"
    """The right kind of command with another id or type."""
    PATCH_MISSING = "patch_missing"
    """History has a patch marker that is not deprecated, and the code no longer asks for it."""
    FOREIGN_MARKER = "foreign_marker"
    """A marker that only an SDK of another language writes."""
    UNKNOWN_OPERATION = "unknown_operation"
    """An event belongs to an operation that the code never started."""
    LOCAL_ACTIVITY = "local_activity"
    """A local activity's marker does not fit what the code did."""


class EventFact(msgspec.Struct, frozen=True):
    """A history event, as far as matching looks at it."""

    event_id: int
    event_type: int
    name: str
    """What the event is about: an activity type, a timer id, a patch id, …"""
    id: str


class CommandFact(msgspec.Struct, frozen=True):
    """A command the code issued; `event_type` is the event it would be recorded as."""

    event_type: int
    name: str
    id: str
    site: CallSite | None


class AttributeDiff(msgspec.Struct, frozen=True):
    """The one attribute that differs."""

    attribute: str
    in_history: str
    in_code: str


class Mismatch(msgspec.Struct, frozen=True):
    """The first point at which code and history disagree.

    `task_events` are the command events of the workflow task from its first, `task_commands`
    what the code issued for it, both in order. `task_started_event_id` is the task whose
    commands they are. SDK names and versions are (name, version) as recorded in history, and ours.
    """

    rule: Rule
    event: EventFact
    command: CommandFact | None
    task_started_event_id: int
    task_events: tuple[EventFact, ...]
    task_commands: tuple[CommandFact, ...]
    difference: AttributeDiff | None = None
    history_sdk: tuple[str, str] = ("", "")
    our_sdk: tuple[str, str] = ("", "")


class NondeterminismFound(Exception):
    """Carries the broken rule from a machine to the engine's boundary; never leaves the package."""

    def __init__(self, rule: Rule, difference: AttributeDiff | None = None) -> None:
        super().__init__(rule.value)
        self.rule = rule
        self.difference = difference


class BadHistory(Exception):
    """Carries a `Fatal` to the engine's boundary; never leaves the package."""

    def __init__(self, message: str, event_id: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.event_id = event_id
