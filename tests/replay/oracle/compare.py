"""Both verdicts side by side."""

from __future__ import annotations

from typing import Any

from tests.replay.oracle import known
from tests.replay.oracle.ours import Case, Oracle, Result, replay


def difference(case: Case, oracle: Oracle) -> str | None:
    """What differs, as text; None when nothing does, or a known difference explains it."""
    ours, core = replay(case), oracle.replay(case)
    count = len(core.activations)
    if ours.verdict == "ok" and core.verdict != "ok" and known.reason(core.message):
        return _first_difference(ours.activations[:count], core.activations)
    # The core calls some disagreements between code and history fatal; what matters is that the
    # task fails at the same point.
    failed = {"nondeterminism", "fatal"}
    if ours.verdict != core.verdict and not {ours.verdict, core.verdict} <= failed:
        return _verdicts(ours, core)
    return _first_difference(ours.activations, core.activations)


def _verdicts(ours: Result, core: Result) -> str:
    return (
        f"ours: {ours.verdict} {ours.message} after {len(ours.activations)} activations, "
        f"core: {core.verdict} {core.message} after {len(core.activations)}"
    )


def _first_difference(ours: list[dict[str, Any]], core: list[dict[str, Any]]) -> str | None:
    for index, (mine, theirs) in enumerate(zip(ours, core, strict=False)):
        if mine != theirs:
            keys = [key for key in mine if mine[key] != theirs[key]]
            return "\n".join(
                f"activation {index}, {key}:\n  ours {mine[key]}\n  core {theirs[key]}"
                for key in keys
            )
    if len(ours) != len(core):
        return f"ours has {len(ours)} activations, the core {len(core)}"
    return None
