"""Our engine and the official core see the same: random histories, recorded ones, tampered code."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from perdure.wire.history_json import history_from_json
from tests.replay.oracle import known
from tests.replay.oracle.compare import difference
from tests.replay.oracle.generator import generate
from tests.replay.oracle.ours import Case, Oracle, replay
from tests.replay.oracle.plan import plan_of
from tests.replay.oracle.script import Variant
from tests.replay.recorded.histories import name_of, paths
from tests.unit.replay.build import Events

ALLOWED = (Variant.SAME, Variant.PATCHES_ADDED, Variant.DEPRECATED_REMOVED)
TAMPERED = tuple(variant for variant in Variant if variant not in ALLOWED)


@pytest.mark.slow
def test_random_histories_are_replayed_like_the_official_core_does(
    oracle: Oracle, seeds: range
) -> None:
    differences: list[str] = []
    for seed in seeds:
        # Every history is replayed by unchanged code, and by one way of changing it.
        tampered = (*ALLOWED[1:], *TAMPERED)[seed % (len(Variant) - 1)]
        events = generate(seed)
        for variant in (Variant.SAME, tampered):
            found = difference(Case(seed, events, variant, at=1 + seed % 9), oracle)
            if found:
                differences.append(f"seed {seed}, {variant}: {found}")
    assert not differences, "\n".join(differences[:5])


@pytest.mark.parametrize("variant", ALLOWED)
def test_code_changed_in_an_allowed_way_replays(variant: Variant) -> None:
    for seed in range(40):
        result = replay(Case(seed, generate(seed), variant))
        assert result.verdict == "ok", f"seed {seed}: {result.message}"


@pytest.mark.parametrize("variant", TAMPERED)
def test_tampered_code_is_noticed(variant: Variant) -> None:
    verdicts = Counter(
        replay(Case(seed, generate(seed), variant, at=1 + seed % 5)).verdict for seed in range(60)
    )
    # Not every tampering hits: the changed command may come after the workflow's end, …
    assert verdicts["nondeterminism"] >= 10, verdicts


NO_PLAN = {"activities", "attributes", "children", "local_activities"}
"""Histories with commands that `plan` does not know, or cannot: how an activity is cancelled is not in a history."""
PLANNED = [path for path in paths() if path.stem not in NO_PLAN]


@pytest.mark.parametrize("variant", [Variant.SAME, Variant.COMMAND_DROPPED, Variant.COMMAND_ADDED])
def test_recorded_histories_are_replayed_like_the_official_core_does(
    oracle: Oracle, variant: Variant
) -> None:
    verdicts = Counter[str]()
    for path in PLANNED:
        events = history_from_json(path.read_text()).events
        case = Case(0, events, variant, plan=plan_of(events))
        found = difference(case, oracle)
        assert found is None, f"{name_of(path)}: {found}"
        verdicts[replay(case).verdict] += 1
    if variant is Variant.SAME:
        assert verdicts == {"ok": len(PLANNED)}
    else:
        # Fatal: an update that is completed although nobody accepted it.
        assert verdicts["nondeterminism"] + verdicts["fatal"] == len(PLANNED)
        assert verdicts["fatal"] <= 4


def _abandoned_activity() -> Case:
    events = Events().start()
    scheduled = events.completed().activity("1", "charge")
    events.signal().task().completed()
    events.activity_done(scheduled, "Failed").signal().task()
    plan = {"3": [["plan_activity", 1, "1", "charge", 2]], "8": [["cancel_activity", 1]]}
    return _ended(events, plan)


def _abandoned_nexus_operation() -> Case:
    events = Events().start()
    scheduled = events.completed().add(
        "NexusOperationScheduled", endpoint="end", service="bank", operation="bill"
    )
    events.add("NexusOperationStarted", scheduled_event_id=scheduled, operation_token="t")
    events.signal().task().completed()
    events.add("NexusOperationCompleted", scheduled_event_id=scheduled)
    events.signal().task()
    plan = {"3": [["start_nexus", 1, "bill", 1]], "9": [["cancel_nexus", 1]]}
    return _ended(events, plan)


def _ended(events: Events, plan: dict[str, list[list[Any]]]) -> Case:
    """The open task ends the workflow."""
    plan[str(len(events))] = [["complete"]]
    events.completed().done()
    started = events[0].workflow_execution_started_event_attributes
    started.task_queue.name = "queue"
    started.workflow_task_timeout.FromSeconds(10)
    return Case(0, events, plan=plan)


def test_known_differences_still_exist(oracle: Oracle) -> None:
    """An entry of ``known`` that the core no longer needs must go."""
    reasons: set[str | None] = set()
    for case in (_abandoned_activity(), _abandoned_nexus_operation()):
        assert replay(case).verdict == "ok"
        core = oracle.replay(case)
        assert core.verdict != "ok", "the core has been repaired"
        reasons.add(known.reason(core.message))
    assert reasons == {why for why, _ in known.KNOWN}
