"""A history written by another Python version, whose `asyncio.wait_for` starts coroutines earlier or later."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from perdure import workflow
from perdure.client.history import WorkflowHistory
from perdure.wire.api import enums, history
from perdure.worker import Replayer
from perdure.worker.host import HostOptions, WorkflowRegistry
from perdure.worker.host.options import WaitForProfile
from perdure.worker.replayer.replay_history import HistoryReplay
from perdure.workflow import NondeterminismError

SECOND = timedelta(seconds=1)


@workflow.defn
class Gathers:
    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(asyncio.wait_for(self.activity("a"), 5), self.activity("b"))

    async def activity(self, name: str) -> None:
        await workflow.execute_activity(name, start_to_close_timeout=SECOND)


def recorded(first: str, second: str) -> WorkflowHistory:
    """The history of `Gathers` when it scheduled its activities in this order."""
    kinds = enums.EventType
    events = [
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_WORKFLOW_TASK_STARTED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_WORKFLOW_TASK_COMPLETED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_TIMER_STARTED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED),
        history.HistoryEvent(event_type=kinds.EVENT_TYPE_WORKFLOW_TASK_STARTED),
    ]
    for number, event in enumerate(events, start=1):
        event.event_id = number
        event.event_time.FromSeconds(1_700_000_000 + number)
    started = events[0].workflow_execution_started_event_attributes
    started.workflow_type.name = "Gathers"
    started.original_execution_run_id = "run"
    started.first_execution_run_id = "run"
    events[1].workflow_task_scheduled_event_attributes.SetInParent()
    events[2].workflow_task_started_event_attributes.scheduled_event_id = 2
    completed = events[3].workflow_task_completed_event_attributes
    completed.scheduled_event_id, completed.started_event_id = 2, 3
    completed.sdk_metadata.core_used_flags.extend([1, 2, 3])
    events[4].timer_started_event_attributes.timer_id = "1"
    for number, name in ((5, first), (6, second)):
        scheduled = events[number].activity_task_scheduled_event_attributes
        scheduled.activity_id, scheduled.activity_type.name = str(number - 4), name
    events[7].workflow_execution_signaled_event_attributes.signal_name = "unknown"
    events[8].workflow_task_scheduled_event_attributes.SetInParent()
    events[9].workflow_task_started_event_attributes.scheduled_event_id = 9
    return WorkflowHistory("w", events)


@pytest.mark.parametrize(
    ("profile", "order"), [(WaitForProfile.PY311, "ba"), (WaitForProfile.PY312, "ab")]
)
def test_each_profile_replays_its_own_histories_only(profile: WaitForProfile, order: str) -> None:
    for names in ("ab", "ba"):
        replay = HistoryReplay(
            "w",
            recorded(*names).events,
            WorkflowRegistry([Gathers]),
            HostOptions(wait_for_profile=profile),
        )
        while replay.step():
            pass
        replay.close()
        assert isinstance(replay.failure, NondeterminismError) is (names != order)
        assert replay.wait_for_profile_matters


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_the_replayer_tries_the_other_profile_and_says_so(
    order: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await Replayer(workflows=[Gathers]).replay_workflow(recorded(*order))
    own = {WaitForProfile.PY311: "ba", WaitForProfile.PY312: "ab"}[WaitForProfile.of_interpreter()]
    assert ("asyncio.wait_for of another Python version" in caplog.text) is (order != own)


async def test_what_no_profile_explains_is_reported() -> None:
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[Gathers]).replay_workflow(recorded("a", "c"))
