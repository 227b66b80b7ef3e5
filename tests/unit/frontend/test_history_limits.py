"""A run whose history passes a limit ends, whatever kind of change passes it (S-43)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from perdure.core.limits import Limits
from perdure.core.units import SECOND_NS
from perdure.wire.api import common, enums
from perdure.wire.errors import NotFound
from tests.harness.builders import start_timer
from tests.unit.frontend.conftest import QUEUE, Caller, schedule_activity, settle, virtual_caller
from tests.unit.server.virtual import on_virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOO_LONG = Limits(history_count_max=6)
TERMINATED = enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED
PAYLOADS = common.Payloads(payloads=[common.Payload(data=b"x" * 400)])


async def ended(caller: Caller) -> str:
    """The reason with which the server ended the run."""
    await settle(300)
    last = (await caller.history()).history.events[-1]
    assert last.event_type == TERMINATED
    attributes = last.workflow_execution_terminated_event_attributes
    assert attributes.identity == "history-service"
    with pytest.raises(NotFound):
        await caller.signal()
    return attributes.reason


async def by_signals(caller: Caller) -> None:
    for _ in range(5):
        await caller.signal()


async def by_an_activity(caller: Caller) -> None:
    await caller.complete(await caller.poll(), schedule_activity())  # events 4 and 5
    task = await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE})
    await caller.call("RespondActivityTaskCompleted", task_token=task.task_token)  # 6, 7 and 8


async def by_a_timer(caller: Caller) -> None:
    await caller.complete(await caller.poll(), start_timer("t", SECOND_NS))
    await asyncio.sleep(2)


@on_virtual_time
@pytest.mark.parametrize("passed", [by_signals, by_an_activity, by_a_timer])
async def test_rule_43_any_change_may_pass_the_limit(
    passed: Callable[[Caller], Awaitable[Any]],
) -> None:
    async with virtual_caller(TOO_LONG) as caller:
        await caller.start()
        await passed(caller)
        assert await ended(caller) == "Workflow history count exceeds limit."


async def signal(caller: Caller) -> None:
    await caller.call(
        "SignalWorkflowExecution",
        workflow_execution={"workflow_id": "w"},
        signal_name="large",
        input=PAYLOADS,
    )


@on_virtual_time
async def test_rule_43_sizes_have_a_limit_too() -> None:
    async with virtual_caller(Limits(history_size_bytes_max=1_500)) as caller:
        await caller.start()
        for _ in range(3):
            await signal(caller)
        await settle(300)
        events = (await caller.history()).history.events
        assert len(events) == 5, "it is still open"
        await signal(caller)
        assert await ended(caller) == "Workflow history size exceeds limit."
        assert len((await caller.history()).history.events) == 7, "the last signal is kept"
