"""Updates: admission, and what workers answer (S-17 to S-20)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from perdure.core.limits import DEFAULT_LIMITS
from perdure.entity.env import Env
from perdure.history import transitions
from perdure.history.draft.replies import CompletionReply
from perdure.history.draft.transition import RunTransition
from perdure.history.draft.update_values import TaskUpdates, UpdateAdmission, UpdateRejection
from perdure.history.state.run_state import RunState, RunStatus
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, failure, protocol, update
from perdure.wire.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from tests.harness.builders import json_payloads
from tests.unit.history.harness import Run, command, complete_workflow, completed, start_timer


def request(update_id: str = "u") -> update.Request:
    return update.Request(
        meta=update.Meta(update_id=update_id, identity="caller"),
        input=update.Input(name="add", args=json_payloads("1")),
    )


def message(message_id: str, update_id: str, body: Message) -> protocol.Message:
    packed = AnyMessage()
    packed.Pack(body)
    return protocol.Message(id=message_id, protocol_instance_id=update_id, body=packed)


def acceptance(update_id: str = "u", **fields: Any) -> protocol.Message:
    body = update.Acceptance(
        accepted_request_message_id=f"{update_id}/request",
        accepted_request_sequencing_event_id=2,
        **fields,
    )
    return message(f"{update_id}/accept", update_id, body)


def response(update_id: str = "u") -> protocol.Message:
    outcome = update.Outcome(success=json_payloads("2"))
    body = update.Response(meta=update.Meta(update_id=update_id), outcome=outcome)
    return message(f"{update_id}/complete", update_id, body)


def rejection(update_id: str = "u") -> protocol.Message:
    body = update.Rejection(failure=failure.Failure(message="no"))
    return message(f"{update_id}/reject", update_id, body)


def mention(of: protocol.Message) -> commands_api.Command:
    attributes = commands_api.ProtocolMessageCommandAttributes(message_id=of.id)
    return command(protocol_message_command_attributes=attributes)


SENT = TaskUpdates(sent={"u": request()})


def answer(
    run: Run, *messages: protocol.Message, updates: TaskUpdates = SENT, **fields: Any
) -> CompletionReply:
    """Complete the run's workflow task with these messages."""
    task = run.poll_workflow()
    commands = fields.pop("commands", ())
    asked = completed(commands, sticky=False, messages=messages, **fields)

    def change(state: RunState, env: Env) -> RunTransition:
        return transitions.complete_workflow_task(state, task.token, asked, env, updates)

    return run.do(change)


def admit(run: Run, update_id: str = "u", *, waiting: int = 0, chain: str = "") -> UpdateAdmission:
    def change(state: RunState, env: Env) -> RunTransition:
        return transitions.request_update(state, update_id, chain, waiting, env)

    return run.do(change)


def started_run(**options: Any) -> Run:
    run = Run(**options)
    run.start()
    return run


def idle_run(**options: Any) -> Run:
    """A run whose first workflow task is completed."""
    run = started_run(**options)
    answer(run, updates=TaskUpdates())
    return run


def test_an_update_makes_a_workflow_task_when_none_is_pending() -> None:
    run = idle_run()
    assert admit(run) == UpdateAdmission(run.state.key.run_id, is_new=True)
    assert run.kinds[-1] == "WorkflowTaskScheduled"
    assert admit(run, "v", waiting=1).is_new
    assert run.kinds.count("WorkflowTaskScheduled") == 2, "the one that is pending carries both"


def test_rule_18_accepted_and_completed_in_one_task_are_adjacent() -> None:
    run = started_run()
    reply = answer(run, acceptance(), response(), commands=[start_timer()])
    assert run.kinds[-3:] == [
        "TimerStarted",
        "WorkflowExecutionUpdateAccepted",
        "WorkflowExecutionUpdateCompleted",
    ], "messages that no command mentions follow the commands (S-17)"
    accepted = run.event("WorkflowExecutionUpdateAccepted")
    assert accepted.protocol_instance_id == "u"
    assert accepted.accepted_request == request()
    assert accepted.accepted_request_message_id == "u/request"
    assert accepted.accepted_request_sequencing_event_id == 2
    done = run.event("WorkflowExecutionUpdateCompleted")
    assert done.accepted_event_id == 6
    assert done.outcome.success == json_payloads("2")
    assert not reply.rejected_updates
    assert run.state.open_updates == 0


def test_rule_17_a_command_says_where_a_message_belongs() -> None:
    run = started_run()
    first, last = acceptance(), response()
    answer(run, first, last, commands=[mention(first), start_timer(), mention(last)])
    assert run.kinds[-3:] == [
        "WorkflowExecutionUpdateAccepted",
        "TimerStarted",
        "WorkflowExecutionUpdateCompleted",
    ]


def test_an_update_may_complete_in_a_later_task_and_after_the_last_command() -> None:
    run = started_run()
    answer(run, acceptance())
    assert run.state.open_updates == 1
    run.signal()
    last = response()
    answer(run, last, updates=TaskUpdates(), commands=[mention(last), complete_workflow()])
    assert run.kinds[-2:] == ["WorkflowExecutionUpdateCompleted", "WorkflowExecutionCompleted"]


def test_a_rejection_leaves_no_event() -> None:
    run = started_run()
    reply = answer(run, rejection())
    assert reply.rejected_updates == (UpdateRejection("u", failure.Failure(message="no")),)
    assert run.kinds[-1] == "WorkflowTaskCompleted"
    assert not run.state.updates


def test_rule_17_what_the_worker_does_not_answer_is_rejected() -> None:
    reply = answer(started_run())
    (refused,) = reply.rejected_updates
    assert refused.failure.application_failure_info.type == "UnprocessedUpdate"


def test_rule_14_a_heartbeat_need_not_answer() -> None:
    run = started_run()
    reply = answer(run, force_create_new_workflow_task=True, return_new_workflow_task=False)
    assert not reply.rejected_updates


def test_updates_that_wait_make_the_next_task_but_do_not_keep_the_run_open() -> None:
    run = started_run()
    waiting = TaskUpdates(others_wait=True)
    assert answer(run, updates=waiting).workflow_task is not None
    run = started_run()
    reply = answer(run, updates=waiting, commands=[complete_workflow()])
    assert not run.state.is_running
    assert reply.workflow_task is None


def test_an_acceptance_of_a_forgotten_update_brings_its_request() -> None:
    run = started_run()
    answer(run, acceptance(accepted_request=request()), updates=TaskUpdates())
    assert run.event("WorkflowExecutionUpdateAccepted").accepted_request == request()


@pytest.mark.parametrize(
    "messages",
    [
        [acceptance()],
        [response()],
        [message("m", "", update.Rejection())],
        [message("m", "u", common.Payload())],
        [acceptance(accepted_request=request()), acceptance(accepted_request=request())],
        [
            acceptance(accepted_request=request()),
            message("m", "u", update.Response(meta=update.Meta(update_id="u"))),
        ],
    ],
    ids=["unknown", "not accepted", "no id", "no such body", "twice", "no outcome"],
)
def test_messages_that_make_no_sense_fail_the_task(messages: list[protocol.Message]) -> None:
    if len(messages) == 2 and messages[0] == messages[1]:
        another = protocol.Message(id="another")
        another.protocol_instance_id = messages[1].protocol_instance_id
        another.body.CopyFrom(messages[1].body)
        messages = [messages[0], another]
    run = started_run()
    with pytest.raises(InvalidArgument, match="BadUpdateWorkflowExecutionMessage"):
        answer(run, *messages, updates=TaskUpdates())
    assert run.kinds[-1] == "WorkflowTaskFailed"
    assert not run.state.updates


def test_a_command_that_mentions_no_message_fails_the_task() -> None:
    with pytest.raises(InvalidArgument, match="no message has the id"):
        answer(started_run(), commands=[mention(acceptance())])


def test_an_oversized_answer_ends_the_run() -> None:
    run = started_run(limits=msgspec.structs.replace(DEFAULT_LIMITS, blob_size_bytes_max=20))
    with pytest.raises(InvalidArgument, match="bytes; the limit is 20"):
        answer(run, acceptance(accepted_request=request("u" * 50)), updates=TaskUpdates())
    assert run.state.status is RunStatus.TERMINATED


def test_rule_19_who_may_update() -> None:
    run = started_run()
    answer(run, acceptance())
    assert not admit(run).is_new, "history knows it"
    with pytest.raises(NotFound, match="workflow execution not found"):
        admit(run, "v", chain="another")
    run.signal()
    answer(run, updates=TaskUpdates(), commands=[complete_workflow()])
    assert not admit(run).is_new, "also when the run has closed"
    with pytest.raises(NotFound, match="workflow execution already completed"):
        admit(run, "v")


def test_limits_of_updates() -> None:
    run = idle_run(
        limits=msgspec.structs.replace(
            DEFAULT_LIMITS, updates_in_flight_max=3, updates_per_run_max=4
        )
    )
    admit(run)
    answer(run, acceptance())
    with pytest.raises(ResourceExhausted, match="in-flight updates"):
        admit(run, "v", waiting=2)
    assert admit(run, "v", waiting=1).is_new
    two = TaskUpdates(sent={"v": request("v"), "w": request("w")})
    answer(run, response(), acceptance("v"), response("v"), updates=two)
    admit(run, "w")
    answer(run, acceptance("w"), response("w"), updates=two)
    admit(run, "x")
    answer(run, acceptance("x"), response("x"), updates=TaskUpdates(sent={"x": request("x")}))
    with pytest.raises(FailedPrecondition, match="total number of distinct updates"):
        admit(run, "y")


def test_a_failing_workflow_takes_no_updates() -> None:
    run = started_run()
    for _ in range(2):
        task = run.poll_workflow()
        asked = commands_api.Command()
        with pytest.raises(InvalidArgument):
            run.complete(task, [asked])
        run.sleep(20 * 10**9)
    assert run.state.workflow_task is not None
    assert run.state.workflow_task.attempt == 3
    with pytest.raises(FailedPrecondition, match="failed state"):
        admit(run)


def test_a_run_that_tries_to_close_takes_updates_again_only_when_its_task_has_ended() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.signal()
    with pytest.raises(InvalidArgument, match="UnhandledCommand"):
        run.complete(task, [complete_workflow()])
    assert admit(run).is_new  # nobody has the next task yet, so it will carry the update
    task = run.poll_workflow()
    with pytest.raises(ResourceExhausted, match="is closing"):
        admit(run, "u2")
    run.complete(task, [start_timer()])
    assert admit(run, "u2").is_new
