"""Liveness is memory (D-48): what heartbeats leave behind, and what they must not."""

from __future__ import annotations

import pytest

from perdure.history.activity import attempts as activity
from perdure.history.draft.deadlines import live_deadlines
from perdure.history.draft.draft import Draft
from perdure.history.state.run_state import DeadlineKind
from tests.harness.commands import failure_of
from tests.harness.values import START_NS
from tests.transcripts.script import Script
from tests.transcripts.world import World

SECOND = 10**9


def running() -> tuple[Script, World]:
    script = Script()
    script.run(["start", "poll workflow", "complete"])
    script.run(
        ["signal go", "poll workflow", "complete", "  schedule a start_to_close=1h heartbeat=5s"]
    )
    script.run(["poll activity"])
    return script, script.world


def heartbeat_due(world: World) -> int:
    """The heartbeat deadline, in seconds from the start of the world."""
    due = [x for x in live_deadlines(world.state) if x.kind is DeadlineKind.ACTIVITY_HEARTBEAT]
    assert len(due) == 1
    return (due[0].at_ns - START_NS) // SECOND


def test_a_heartbeat_without_news_moves_the_deadline_and_writes_nothing():
    script, world = running()
    rows = len(world.rows)
    assert heartbeat_due(world) == 5
    assert script.run(["wait 3s", "heartbeat a"]) == ["reply RecordActivityTaskHeartbeat"]
    assert heartbeat_due(world) == 8
    assert len(world.rows) == rows


def test_after_a_load_the_worker_gets_a_full_interval():
    script, world = running()
    script.run(["wait 4s", "heartbeat a", "wait 4s", "reload"])
    assert heartbeat_due(world) == 13


def test_an_abandoned_step_does_not_shorten_the_interval():
    script, world = running()
    script.run(["wait 4s", "heartbeat a"])

    def die(draft: Draft, reply: object = None) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft, "done", die)
        with pytest.raises(KeyboardInterrupt):
            activity.fail_activity(
                world.state,
                script.activity_tokens["a"],
                activity.Failed(failure=failure_of({})),
                world.env,
            )
    assert heartbeat_due(world) == 9
    world.check()


def test_a_new_attempt_starts_its_own_clock():
    script, world = running()
    script.run(["wait 4s", "heartbeat a", "failed a", "wake 1s", "wait 2s", "poll activity"])
    assert heartbeat_due(world) == 12


def test_ended_activities_are_forgotten_and_others_are_not():
    script, world = running()
    script.run(
        ["signal go", "poll workflow", "complete", "  schedule b start_to_close=1h heartbeat=5s"]
    )
    script.run(["poll activity", "wait 1s", "heartbeat b", "wait 1s"])
    ended = range(1000, 1100)
    world.state.heard_ns.update(dict.fromkeys(ended, 1))
    script.run(["heartbeat a"])
    heard_s = {
        world.state.activities[key].activity_id: (at_ns - START_NS) // SECOND
        for key, at_ns in world.state.heard_ns.items()
    }
    assert heard_s == {"a": 2, "b": 1}
