"""Tasks reach pollers that are there, whatever happens between commit and delivery (D-6, D-8, D-46)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from perdure.core.limits import EAGER_ACTIVITIES_BYTES_MAX, GRPC_MESSAGE_BYTES_MAX
from perdure.storage.sqlite_open import connect_memory
from perdure.wire.api import common, enums
from perdure.wire.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from tests.harness.builders import complete_workflow, start_child
from tests.unit.frontend.conftest import QUEUE, Caller, open_caller, schedule_activity, settle

STICKY = {"name": "sticky", "kind": enums.TASK_QUEUE_KIND_STICKY, "normal_name": QUEUE}


def ids(task: Any) -> list[int]:
    return [event.event_id for event in task.history.events]


async def stop(poll: asyncio.Task[Any]) -> None:
    poll.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await poll


async def test_a_parked_poller_gets_the_task_of_the_same_commit(caller: Caller):
    poll = caller.parked()
    await settle()
    run_id = await caller.start()
    task = await poll
    assert task.workflow_execution.run_id == run_id
    assert task.workflow_type.name == "Greeting"
    assert (task.previous_started_event_id, task.started_event_id, task.attempt) == (0, 3, 1)
    assert ids(task) == [1, 2, 3]


async def test_a_task_without_poller_waits_as_a_row(caller: Caller):
    await caller.start()
    task = await caller.poll()
    assert ids(task) == [1, 2, 3]
    await caller.complete(task, complete_workflow())
    history = await caller.history()
    assert len(history.history.events) == 5


async def test_rows_survive_the_process(caller: Caller):
    with contextlib.closing(connect_memory(4)) as connection:
        first = await open_caller(connection)
        await first.start()
        await first.node.close()
        second = await open_caller(connection)
        task = await second.poll()
        assert ids(task) == [1, 2, 3]
        await second.node.close()


async def test_tasks_of_one_queue_come_in_the_order_of_their_starts(caller: Caller):
    for number in range(5):
        await caller.start(f"w{number}")
    await caller.start("urgent", priority={"priority_key": 1})
    found = [(await caller.poll()).workflow_execution.workflow_id for _ in range(6)]
    assert sorted(found[1:]) == [f"w{number}" for number in range(5)]
    assert found[0] == "urgent"


async def test_a_workflow_task_whose_poller_left_during_the_commit_goes_to_the_next_one(
    caller: Caller,
):
    leaving = caller.parked()
    await settle()
    caller.disk.gate.clear()
    start = asyncio.ensure_future(caller.start())
    await settle()
    await stop(leaving)
    caller.disk.gate.set()
    await start
    task = await caller.poll()
    assert ids(task) == [1, 2, 3], "the same started task, with full history"
    assert task.attempt == 1
    await caller.complete(task, complete_workflow())


async def test_an_activity_whose_poller_left_during_the_commit_is_offered_again_as_the_same_attempt(
    caller: Caller,
):
    await caller.start()
    task = await caller.poll()
    leaving = asyncio.ensure_future(
        caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE}, identity="worker")
    )
    await settle()
    caller.disk.gate.clear()
    completion = asyncio.ensure_future(caller.complete(task, schedule_activity()))
    await settle()
    await stop(leaving)
    caller.disk.gate.set()
    await completion
    activity = await caller.call(
        "PollActivityTaskQueue", task_queue={"name": QUEUE}, identity="worker"
    )
    assert (activity.activity_id, activity.attempt) == ("a", 1)
    await caller.call("RespondActivityTaskCompleted", task_token=activity.task_token)
    with pytest.raises(InvalidArgument, match="not issued by this server"):
        await caller.call("RespondActivityTaskCompleted", task_token=b"forged")


async def test_a_poll_that_left_takes_nothing(caller: Caller):
    poll = caller.parked()
    await settle()
    await stop(poll)
    await caller.start()
    assert ids(await caller.poll()) == [1, 2, 3]


async def test_a_poll_with_little_patience_is_refused_as_rule_40_says(caller: Caller):
    with pytest.raises(FailedPrecondition, match="Context timeout is too short"):
        await caller.poll(timeout_ns=1_999_999_999)


async def test_a_poll_without_task_is_answered_empty(caller: Caller):
    assert (await caller.poll(timeout_ns=2_000_000_000)).task_token == b""


async def sticky_run(caller: Caller) -> None:
    """A run whose worker has it cached and polls its sticky queue."""
    await caller.start()
    task = await caller.poll()
    attributes = {"worker_task_queue": STICKY, "schedule_to_start_timeout": {"seconds": 10}}
    await caller.complete(task, sticky_attributes=attributes)


@pytest.mark.parametrize("name", ["a\n", "a\u202e", "x" * 1_001])
async def test_a_sticky_queue_that_nobody_can_poll_is_refused(caller: Caller, name: str):
    await caller.start()
    task = await caller.poll()
    with pytest.raises(InvalidArgument, match="TaskQueue"):
        await caller.complete(task, sticky_attributes={"worker_task_queue": {"name": name}})
    await caller.complete(task, sticky_attributes={"worker_task_queue": {"name": ""}})


async def test_a_sticky_worker_gets_only_what_is_new(caller: Caller):
    await sticky_run(caller)
    poll = caller.parked(task_queue=STICKY)
    await settle()
    await caller.signal()
    task = await poll
    assert ids(task) == [4, 5, 6, 7]
    assert task.previous_started_event_id == 3


async def test_without_a_sticky_poller_the_normal_queue_gets_the_task_at_once(caller: Caller):
    poll = caller.parked(task_queue=STICKY)
    await settle()
    await sticky_run(caller)
    await caller.call("ShutdownWorker", sticky_task_queue="sticky")
    assert (await poll).task_token == b""
    await caller.signal()
    task = await caller.poll()
    assert ids(task) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_task_that_waits_in_a_sticky_queue_moves_when_its_worker_shuts_down(
    caller: Caller,
):
    poll = caller.parked(task_queue=STICKY)
    await settle()
    await sticky_run(caller)
    await stop(poll)
    await caller.signal()
    await caller.call("ShutdownWorker", sticky_task_queue="sticky")
    assert ids(await caller.poll())[0] == 1


async def test_a_run_whose_stickiness_is_reset_goes_to_any_worker_with_its_whole_history(
    caller: Caller,
):
    await sticky_run(caller)
    sticky = caller.parked(task_queue=STICKY)
    await settle()
    await caller.call("ResetStickyTaskQueue", execution={"workflow_id": "w"})
    await caller.signal()
    task = await caller.poll()
    assert ids(task)[:4] == [1, 2, 3, 4]
    assert not sticky.done()
    await stop(sticky)


async def test_stopping_the_node_answers_parked_polls_empty():
    caller = await open_caller()
    poll = caller.parked()
    await settle()
    await caller.node.close()
    assert (await poll).task_token == b""


async def test_pollers_are_listed(caller: Caller):
    poll = caller.parked()
    await settle()
    described = await caller.call("DescribeTaskQueue", task_queue={"name": QUEUE})
    assert [poller.identity for poller in described.pollers] == ["worker"]
    await stop(poll)


async def test_the_next_task_comes_with_the_completion(caller: Caller):
    await caller.start()
    task = await caller.poll()
    await caller.signal()
    attributes = {"worker_task_queue": STICKY, "schedule_to_start_timeout": {"seconds": 10}}
    response = await caller.complete(
        task, return_new_workflow_task=True, sticky_attributes=attributes
    )
    assert ids(response.workflow_task) == [4, 5, 6, 7]
    await caller.complete(response.workflow_task, complete_workflow())


async def test_a_completion_that_is_repeated_gets_the_same_answer(caller: Caller):
    await caller.start()
    task = await caller.poll()
    await caller.signal()
    first = await caller.complete(task, return_new_workflow_task=True)
    assert first.workflow_task.task_token
    assert await caller.complete(task, return_new_workflow_task=True) == first


async def test_another_answer_to_a_task_that_was_answered_is_not_found(caller: Caller):
    await caller.start()
    task = await caller.poll()
    await caller.complete(task, schedule_activity())
    with pytest.raises(NotFound):
        await caller.complete(task, complete_workflow())
    work = await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE})

    async def answer(data: bytes, method: str = "RespondActivityTaskCompleted") -> Any:
        field = "result" if method.endswith("Completed") else "details"
        fields: dict[str, Any] = {field: {"payloads": [{"data": data}]}}
        return await caller.call(method, task_token=work.task_token, **fields)

    first = await answer(b"t")
    assert await answer(b"t") == first
    with pytest.raises(NotFound):
        await answer(b"again")
    with pytest.raises(NotFound):
        await answer(b"t", "RespondActivityTaskCanceled")


async def test_a_task_whose_start_fails_is_tried_again_and_the_poll_waits(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    await caller.start()
    engine = caller.node.engine
    failures: list[BaseException] = [Unavailable("disk full"), ZeroDivisionError("a bug")]
    real = engine.start_task

    async def failing(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(*arguments)

    monkeypatch.setattr(engine, "start_task", failing)
    monkeypatch.setattr("perdure.server.matching.host.RETRY_NS", 1_000_000)
    with caplog.at_level(logging.ERROR):
        task = await caller.poll()
    assert ids(task) == [1, 2, 3]
    assert failures == []
    said = [one.getMessage() for one in caplog.records]
    assert said == [f"a task of {QUEUE} could not be started"], "of the bug, and of nothing else"


async def test_activities_and_children_take_what_they_leave_open_of_the_priority(caller: Caller):
    given: dict[str, Any] = {"priority_key": 2, "fairness_key": "tenant", "fairness_weight": 2.0}
    await caller.start(priority=given)
    commands = [schedule_activity(name) for name in ("own", "none", "empty")]
    commands[0].schedule_activity_task_command_attributes.priority.priority_key = 4
    commands[2].schedule_activity_task_command_attributes.priority.SetInParent()
    for name in ("own", "none"):
        made = start_child(
            f"child {name}",
            workflow_type={"name": "Greeting"},
            task_queue={"name": "elsewhere"},
            priority={"priority_key": 4} if name == "own" else None,
        )
        commands.append(made)
    await caller.complete(await caller.poll(), *commands)
    whole, own = common.Priority(**given), common.Priority(**given)
    own.priority_key = 4
    found: dict[str, common.Priority] = {}
    for _ in range(3):
        task = await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE}, identity="w")
        found[task.activity_id] = task.priority
    assert list(found) == ["none", "empty", "own"], "the more urgent ones come first"
    assert found == {"none": whole, "empty": whole, "own": own}
    for name, expected in (("none", whole), ("own", own)):
        await caller.poll("elsewhere")
        (started, *_) = (await caller.history(f"child {name}")).history.events
        assert started.workflow_execution_started_event_attributes.priority == expected
    scheduled = [
        event.activity_task_scheduled_event_attributes.priority.priority_key
        for event in (await caller.history()).history.events
        if event.event_type == enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert scheduled == [4, 0, 0], "events say what was asked for"


async def test_the_reply_to_a_task_with_large_eager_activities_stays_below_the_limit(
    caller: Caller,
):
    await caller.start()
    task = await caller.poll()
    large = common.Payloads(payloads=[common.Payload(data=b"x" * 1_900_000)])
    await caller.call(
        "SignalWorkflowExecution",
        workflow_execution={"workflow_id": "w"},
        signal_name="large",
        input=large,
    )
    commands = [schedule_activity(name) for name in ("small", "large", "larger", "last")]
    for command, size_bytes in zip(commands, (10, 1_400_000, 1_900_000, 20), strict=True):
        attributes = command.schedule_activity_task_command_attributes
        attributes.request_eager_execution = True
        attributes.input.payloads.add(data=b"x" * size_bytes)
    reply = await caller.complete(
        task,
        *commands,
        return_new_workflow_task=True,
        sticky_attributes={"worker_task_queue": STICKY},
    )
    assert [one.activity_id for one in reply.activity_tasks] == ["small", "large", "last"]
    assert reply.workflow_task.task_token
    assert 2_000_000 < reply.ByteSize() < GRPC_MESSAGE_BYTES_MAX
    dispatched = await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE})
    assert dispatched.activity_id == "larger"
    assert dispatched.attempt == 1


async def test_many_eager_activities_of_a_run_with_long_names_fit_into_a_reply(caller: Caller):
    name = "é" * 500
    await caller.call(
        "StartWorkflowExecution",
        workflow_id=name,
        workflow_type={"name": name},
        task_queue={"name": QUEUE},
        request_id="r",
    )
    task = await caller.poll()
    commands = [schedule_activity(f"{number:0>900}") for number in range(800)]
    for command in commands:
        attributes = command.schedule_activity_task_command_attributes
        attributes.request_eager_execution = True
    reply = await caller.complete(task, *commands)
    assert 0 < len(reply.activity_tasks) < 800
    assert 1_000_000 < reply.ByteSize() <= EAGER_ACTIVITIES_BYTES_MAX
