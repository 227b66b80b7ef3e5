"""A workflow that does random things, the same ones for the same seed and the same activations.

Imports neither Perdure nor the official SDK: it runs on both sides of the comparison. Jobs and
commands are plain tuples, see ``normal``.
"""

from __future__ import annotations

import enum
import random
from typing import Any

Job = tuple[Any, ...]
Command = tuple[Any, ...]

MAX_REACTIONS = 14


class Variant(enum.StrEnum):
    """How the replayed code differs from the code that wrote the history."""

    SAME = "same"
    PATCHES_ADDED = "patches_added"
    """patched() calls that history does not know: allowed, they answer False."""
    DEPRECATED_REMOVED = "deprecated_removed"
    """deprecate_patch() calls were deleted: allowed."""
    COMMAND_DROPPED = "command_dropped"
    COMMAND_ADDED = "command_added"
    TYPE_CHANGED = "type_changed"
    SWAPPED = "swapped"


class Scripted:
    """One run of the random workflow."""

    def __init__(self, seed: int, variant: Variant = Variant.SAME, at: int = 3) -> None:
        self.rng = random.Random(seed)
        self.local = seed % 2 == 1
        """Half of the runs use local activities."""
        self.variant = variant
        self.at = at
        """Which command of the run the variant tampers with."""
        self.issued = 0
        self.reactions = 0
        self.finished = False
        kinds: tuple[str, ...] = (
            "timer",
            "activity",
            "child",
            "nexus",
            "signal_ext",
            "cancel_ext",
        )
        self.seqs: dict[str, int] = dict.fromkeys(kinds, 0)
        self.pending: dict[str, list[int]] = {
            "timer": [],
            "activity": [],
            "local": [],
            "nexus": [],
            "child": [],
            "signal_ext": [],
        }
        self.cancelled: set[int] = set()
        self.notified: set[str] = set()
        self.memo: dict[str, bool] = {}
        self.updates: list[str] = []
        self.replaying = False

    def activate(self, jobs: list[Job], *, replaying: bool) -> list[Command]:
        """Apply an activation; returns commands in issue order."""
        self.replaying = replaying
        commands: list[Command] = []
        # As the official lang layer does: patches are known before anything runs.
        self.notified.update(job[1] for job in jobs if job[0] == "patch")
        for job in jobs:
            # The core takes a cancel of these, when they ended in the same task, for
            # nondeterminism (known.py); timers and activities may be cancelled that late.
            if job[0] in {"child", "signal_ext"} and job[1] in self.pending[job[0]]:
                self.pending[job[0]].remove(job[1])
        for job in jobs:
            if job[0] != "patch":
                self._apply(job, commands)
        return self._tamper(commands)

    def _apply(self, job: Job, out: list[Command]) -> None:
        kind = job[0]
        if kind == "query":
            out.append(("query_result", job[1]))
            return
        if kind == "seed":
            return
        if kind == "update" and not self._accept(job, out):
            return
        if kind == "nexus_start" and job[2] == "failed" and job[1] in self.pending["nexus"]:
            self.pending["nexus"].remove(job[1])
        if kind in self.pending and job[1] in self.pending[kind]:
            self.pending[kind].remove(job[1])
        if kind == "child_start" and job[2] != "started" and job[1] in self.pending["child"]:
            self.pending["child"].remove(job[1])
        if not self.finished:
            self._react(out)

    def _accept(self, job: Job, out: list[Command]) -> bool:
        instance, name, run_validator = job[1], job[2], job[3]
        if run_validator and name.startswith("bad"):
            out.append(("update_rejected", instance))
            return False
        out.append(("update_accepted", instance))
        self.updates.append(instance)
        return True

    def _react(self, out: list[Command]) -> None:
        self.reactions += 1
        rng = self.rng
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            self._operation(out)
        if self.updates and rng.random() < 0.6:
            out.append(("update_completed", self.updates.pop(0)))
        idle = not any(self.pending.values())
        if self.reactions >= MAX_REACTIONS or (idle and rng.random() < 0.25):
            self._finish(out)

    def _finish(self, out: list[Command]) -> None:
        self.finished = True
        ends = ("complete", "complete", "fail", "cancel_workflow", "continue_as_new")
        out.append((self.rng.choice(ends),))
        if self.rng.random() < 0.2:
            self._start("timer", out, 1_000)
        out.extend(("update_completed", instance) for instance in self.updates)
        self.updates.clear()

    def _start(self, kind: str, out: list[Command], *facts: Any) -> None:
        self.seqs[kind] += 1
        self.pending[kind].append(self.seqs[kind])
        out.append((f"start_{kind}", self.seqs[kind], *facts))

    def _operation(self, out: list[Command]) -> None:
        rng = self.rng
        kind = rng.choices(
            (
                "timer",
                "activity",
                "local",
                "child",
                "nexus",
                "signal",
                "cancel_ext",
                "patch",
                "sa",
                "memo",
                "cancel",
            ),
            (5, 6, 4 if self.local else 0, 3, 2, 1, 1, 3, 1, 1, 6),
        )[0]
        if kind == "timer":
            self._start("timer", out, rng.randrange(1, 60_000))
        elif kind == "activity":
            self._start("activity", out, rng.choice(("charge", "ship")), rng.randrange(3))
        elif kind == "local":
            # The counter is shared with activities.
            self.seqs["activity"] += 1
            self.pending["local"].append(self.seqs["activity"])
            name = rng.choice(("check", "count"))
            out.append(("start_local", self.seqs["activity"], name, rng.randrange(3)))
        elif kind == "child":
            self._start("child", out, rng.choice(("Sub", "Other")), rng.randrange(4))
        elif kind == "nexus":
            self._start("nexus", out, rng.choice(("bill", "pay")), rng.randrange(4))
        elif kind == "signal":
            self._start("signal_ext", out, rng.random() < 0.3)
        elif kind == "cancel_ext":
            self.seqs["cancel_ext"] += 1
            out.append(("start_cancel_ext", self.seqs["cancel_ext"]))
        elif kind == "patch":
            self._patch(out)
        elif kind == "sa":
            out.append(("upsert", "TemporalChangeVersion" if rng.random() < 0.2 else "Color"))
        elif kind == "memo":
            out.append(("modify_memo",))
        else:
            self._cancel(out)

    def _patch(self, out: list[Command]) -> None:
        name = f"patch-{self.rng.randrange(4)}"
        deprecated = self.rng.random() < 0.4
        if deprecated:
            name = f"old-{name}"
            if self.variant is not Variant.DEPRECATED_REMOVED:
                out.append(("set_patch", name, True))
            return
        self._patched(name, out)

    def _patched(self, name: str, out: list[Command]) -> None:
        """As the official patched(): memoised, and a command whenever it answers True."""
        if name not in self.memo:
            self.memo[name] = not self.replaying or name in self.notified
        if self.memo[name]:
            out.append(("set_patch", name, False))

    def _cancel(self, out: list[Command]) -> None:
        kind = self.rng.choice(("timer", "activity", "local", "child", "nexus", "signal_ext"))
        if not self.pending[kind]:
            return
        seq = self.rng.choice(self.pending[kind])
        if kind == "timer":
            self.pending[kind].remove(seq)
        if kind in {"activity", "local"}:
            # The core refuses a second cancel; the official lang layer never sends one.
            if seq in self.cancelled:
                return
            self.cancelled.add(seq)
        out.append((f"cancel_{kind}", seq))

    def _tamper(self, commands: list[Command]) -> list[Command]:
        """What a new version of the code does differently, when it replays."""
        if self.variant is Variant.PATCHES_ADDED:
            if self.replaying and commands:
                self._patched("new-patch", commands)
            return commands
        if self.variant in {Variant.SAME, Variant.DEPRECATED_REMOVED}:
            return commands
        result: list[Command] = []
        for command in commands:
            self.issued += 1
            tamper = self.issued == self.at
            if tamper and self.variant is Variant.COMMAND_ADDED:
                result.append(("upsert", "Extra"))
            if tamper and self.variant is Variant.COMMAND_DROPPED and _independent(command):
                continue
            if tamper and self.variant is Variant.TYPE_CHANGED and len(command) > 2:
                changed = command[2]
                if isinstance(changed, str):
                    result.append((command[0], command[1], f"new-{changed}", *command[3:]))
                    continue
            result.append(command)
        if self.variant is Variant.SWAPPED and len(result) >= 2:
            result[0], result[1] = result[1], result[0]
        return result


def _independent(command: Command) -> bool:
    """Leaving it out does not make later commands of the script senseless."""
    return command[0] in {"upsert", "modify_memo", "start_cancel_ext", "set_patch"}


class Planned:
    """Does what a recorded history says: commands by the history length of the activation."""

    def __init__(self, plan: dict[str, list[list[Any]]], variant: Variant = Variant.SAME) -> None:
        self.plan = dict(plan)
        self.variant = variant

    def activate(self, jobs: list[Job], *, replaying: bool, history_length: int) -> list[Command]:
        """The commands of the task, on its first activation."""
        answers: list[Command] = [("query_result", job[1]) for job in jobs if job[0] == "query"]
        commands = [tuple(item) for item in self.plan.pop(str(history_length), [])]
        if self.variant is Variant.COMMAND_DROPPED:
            commands = commands[1:]
        if self.variant is Variant.COMMAND_ADDED and commands:
            commands.insert(0, ("upsert", "Extra"))
        return answers + commands
