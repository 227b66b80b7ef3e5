"""Updates: accepted, rejected, completed, repeated, and unfinished when the run closes."""

from __future__ import annotations

from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.wire.api import protocol
from tests.reference.commands import (
    Command,
    accept,
    application_failure,
    at_this_point,
    complete_workflow,
    continue_as_new,
    reject,
    respond,
    respond_failed,
    start_timer,
    update,
)
from tests.reference.play import Case, Pending, script

ACCEPTED, COMPLETED = {"lifecycle_stage": 2}, {"lifecycle_stage": 3}


def send(
    case: Case, update_id: str = "u", wait: dict[str, Any] = COMPLETED, **fields: Any
) -> Pending:
    fields.setdefault("workflow_execution", case.execution())
    fields.setdefault("request", update(update_id, "update", "argument"))
    return case.begin("UpdateWorkflowExecution", wait_policy=wait, **fields)


def ask_outcome(case: Case, update_id: str = "u", wait: dict[str, Any] = COMPLETED) -> Pending:
    reference = {"workflow_execution": case.execution(), "update_id": update_id}
    return case.begin("PollWorkflowExecutionUpdate", update_ref=reference, wait_policy=wait)


async def started(case: Case) -> None:
    """Start a run and complete its first workflow task."""
    await case.start()
    await case.step(start_timer())


async def answer(
    case: Case, task: Any, *messages: protocol.Message, commands: list[Command] | None = None
) -> Any:
    listed = at_this_point(*messages) if commands is None else commands
    return await case.complete(task, *listed, messages=messages)


@script
async def accepted_and_completed(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await pending.end()
    await case.history()
    await case.describe()
    await ask_outcome(case).end()
    await send(case).end()


@script
async def completed_later(case: Case) -> None:
    await started(case)
    pending = send(case, wait=ACCEPTED)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]))
    await pending.end()
    outcome = ask_outcome(case)
    await case.signal()
    await answer(case, await case.poll(), respond("u", "later"))
    await outcome.end()
    await case.history()


@script
async def it_fails(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond_failed("u"))
    await pending.end()
    await ask_outcome(case).end()
    await case.history()


@script
async def rejected(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await answer(case, task, reject(task.messages[0]))
    await pending.end()
    await case.history()
    await ask_outcome(case).end()
    await case.signal()
    await case.step(complete_workflow())
    await case.closed()


@script
async def rejected_with_the_first_task(case: Case) -> None:
    await case.start()
    pending = send(case)
    await admitted(case)
    task = await case.poll()
    await answer(case, task, reject(task.messages[0]))
    await pending.end()
    await case.history()


async def admitted(case: Case, update_id: str = "u") -> None:
    """Wait until the server has an update, so that the next workflow task carries it."""
    reference = {"workflow_execution": case.execution(), "update_id": update_id}
    await case.seen("PollWorkflowExecutionUpdate", update_ref=reference)


@script
async def several_at_once(case: Case) -> None:
    await started(case)
    first = send(case, "one")
    task = await case.poll()
    second = send(case, "two")
    await admitted(case, "two")
    await answer(case, task, accept(task.messages[0]))
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond("two"), respond("one"))
    await first.end()
    await second.end()
    await case.history()


@script
async def the_same_id_twice(case: Case) -> None:
    await started(case)
    first = send(case)
    task = await case.poll()
    second = send(case, request=update("u", "another"))
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await first.end()
    await second.end()
    await case.history()


@script
async def without_an_id(case: Case) -> None:
    await started(case)
    await send(case, request={"input": {"name": "update"}}).end()
    pending = send(case, request={"meta": {}, "input": {"name": "update"}})
    task = await case.poll()
    message = task.messages[0]
    await answer(case, task, accept(message), respond(message.protocol_instance_id))
    await pending.end()


@script
async def with_commands_between(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    messages = [accept(task.messages[0]), respond("u")]
    marks = at_this_point(*messages)
    await answer(case, task, *messages, commands=[marks[0], start_timer("between"), marks[1]])
    await pending.end()
    await case.history()


@script
async def the_worker_says_nothing(case: Case) -> None:
    await started(case)
    pending = send(case)
    await case.complete(await case.poll())
    await pending.end()
    await case.history()


@script
async def an_answer_to_nothing(case: Case) -> None:
    await started(case)
    await case.signal()
    await answer(case, await case.poll(), respond("unknown"))
    await case.history()


@script
async def an_answer_without_a_body(case: Case) -> None:
    await started(case)
    pending = send(case, wait=ACCEPTED)
    task = await case.poll()
    empty = protocol.Message(id="u/accept", protocol_instance_id="u", body=AnyMessage())
    await answer(case, task, empty)
    await case.terminate()
    await pending.end()
    await case.history()


@script
async def the_task_fails(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await case.fail(task, failure=application_failure("failed"))
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await pending.end()
    await case.history()


@script
async def the_run_completes_with_it(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    messages = [accept(task.messages[0]), respond("u")]
    await answer(case, task, *messages, commands=[*at_this_point(*messages), complete_workflow()])
    await pending.end()
    await ask_outcome(case).end()
    await send(case).end()
    await send(case, "another").end()
    await case.closed()


@script
async def the_run_closes_before_it_answers(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    messages = [accept(task.messages[0])]
    await answer(case, task, *messages, commands=[*at_this_point(*messages), complete_workflow()])
    await pending.end()
    await ask_outcome(case).end()
    await case.closed()


@script
async def the_run_is_terminated_before_it_is_accepted(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await case.terminate()
    await pending.end()
    await answer(case, task, accept(task.messages[0]))
    await ask_outcome(case).end()
    await case.history()


@script
async def the_run_is_terminated_after_it_was_accepted(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]))
    await case.terminate()
    await pending.end()
    await case.history()


@script
async def the_run_continues_with_it_accepted(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]))
    await case.signal()
    await case.old_enough()
    await case.step(continue_as_new(case.queue))
    await pending.end()


@script
async def a_signal_comes_during_its_task(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await case.signal()
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await pending.end()
    await case.history()


@script
async def rejected_when_a_signal_has_come(case: Case) -> None:
    await started(case)
    pending = send(case)
    task = await case.poll()
    await case.signal()
    await answer(case, task, reject(task.messages[0]))
    await pending.end()
    await case.history()


@script
async def of_a_closed_run(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow())
    await send(case).end()
    await ask_outcome(case).end()


@script
async def during_a_start_delay(case: Case) -> None:
    await case.start(workflow_start_delay={"seconds": 600})
    pending = send(case)
    task = await case.poll()
    await answer(case, task, accept(task.messages[0]), respond("u"))
    await pending.end()
    await case.history()


@script
async def no_worker_has_it_when_the_run_completes(case: Case) -> None:
    await case.start()
    task = await case.poll()
    pending = send(case)
    reference = {"workflow_execution": case.execution(), "update_id": "u"}
    await case.seen("PollWorkflowExecutionUpdate", update_ref=reference)
    await case.complete(task, complete_workflow())
    await pending.end()
    await case.history()
