"""Starting a run, and what happens when its workflow id is taken."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.history import transitions
from perdure.history.draft.replies import EagerStartReply
from perdure.history.state.run_state import RunStatus
from perdure.wire.api import common, enums, errordetails, failure, workflow, workflowservice
from perdure.wire.errors import AlreadyExists, InvalidArgument
from perdure.wire.times import duration
from tests.harness.builders import json_payloads
from tests.unit.history.harness import (
    NAMESPACE,
    QUEUE,
    T0_NS,
    Run,
    complete_workflow,
    start_request,
)

Reuse = enums.WorkflowIdReusePolicy
Conflict = enums.WorkflowIdConflictPolicy


def running() -> Run:
    run = Run()
    run.start()
    return run


def closed(status: RunStatus) -> Run:
    run = running()
    if status is RunStatus.TERMINATED:
        run.do(transitions.terminate, workflowservice.TerminateWorkflowExecutionRequest())
    else:
        run.step(complete_workflow())
    assert run.state.status is status
    return run


def start_again(run: Run, **fields: object) -> workflowservice.StartWorkflowExecutionResponse:
    request = start_request(**({"request_id": "start-2"} | fields))
    needs = transitions.needs_existing(run.current, request)
    results = transitions.start(
        run.current, run.state if needs else None, request, NAMESPACE, run.env
    )
    return results[-1].reply


def test_a_start_schedules_the_first_workflow_task() -> None:
    run = Run()
    response = run.start(start_request(input=json_payloads("Ada")))
    assert response.started
    assert response.run_id == response.first_execution_run_id == run.state.key.run_id
    assert response.status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
    assert run.kinds == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    started = run.event("WorkflowExecutionStarted")
    assert started.original_execution_run_id == started.first_execution_run_id == response.run_id
    assert not started.HasField("root_workflow_execution")
    assert run.state.info.root_run_id == response.run_id
    assert started.input == json_payloads("Ada")
    assert started.attempt == 1
    (task,) = run.tasks.values()
    assert (task.queue.name, task.scheduled_event_id) == (QUEUE, 2)
    assert run.current is not None
    assert run.current.run_id == response.run_id
    assert run.last is not None
    assert run.last.visibility is not None


def test_the_first_event_says_what_the_request_said() -> None:
    callback = common.Callback(nexus=common.Callback.Nexus(url="http://example.org"))
    said: dict[str, Any] = {
        "input": json_payloads("a"),
        "header": common.Header(fields={"h": common.Payload(data=b"1")}),
        "memo": common.Memo(fields={"m": common.Payload(data=b"2")}),
        "search_attributes": common.SearchAttributes(
            indexed_fields={"s": common.Payload(data=b"3")}
        ),
        "continued_failure": failure.Failure(message="before"),
        "last_completion_result": json_payloads("b"),
        "priority": common.Priority(priority_key=2),
        "versioning_override": workflow.VersioningOverride(auto_upgrade=True),
    }
    run = Run()
    run.start(start_request(completion_callbacks=[callback], **said))
    started = run.event("WorkflowExecutionStarted")
    assert {name: getattr(started, name) for name in said} == said
    assert list(started.completion_callbacks) == [callback]
    assert (started.workflow_type.name, started.task_queue.name) == ("Greeting", QUEUE)
    assert (started.workflow_id, started.identity) == ("wf", "caller")
    assert run.state.info.started_attributes == b"", "only a retry needs them again"


@pytest.mark.parametrize(("field", "limit"), [("input", "blob"), ("memo", "memo")])
def test_an_input_and_a_memo_may_be_as_large_as_their_limits(field: str, limit: str) -> None:
    memo = common.Memo(fields={"m": common.Payload(data=b"x" * 50)})
    value = {"input": json_payloads("x" * 50), "memo": memo}[field]
    size = value.ByteSize()
    name = f"{limit}_size_bytes_max"
    exact = Run(limits=msgspec.structs.replace(DEFAULT_LIMITS, **{name: size}))
    exact.start(start_request(**{field: value}))
    small = Run(limits=msgspec.structs.replace(DEFAULT_LIMITS, **{name: size - 1}))
    with pytest.raises(
        InvalidArgument, match=rf"^{field} has {size} bytes; the limit is {size - 1}"
    ):
        small.start(start_request(**{field: value}))


def test_rule_33_time_outs_are_filled_in_and_capped() -> None:
    run = Run()
    run.start(
        start_request(
            workflow_execution_timeout=duration(MINUTE_NS),
            workflow_run_timeout=duration(2 * MINUTE_NS),
            workflow_task_timeout=duration(1000 * SECOND_NS),
        )
    )
    info = run.state.info
    assert info.run_timeout_ns == MINUTE_NS
    assert info.workflow_task_timeout_ns == MINUTE_NS
    assert info.execution_expiration_ns == T0_NS + MINUTE_NS
    plain = running().state.info
    assert (plain.run_timeout_ns, plain.workflow_task_timeout_ns) == (0, 10 * SECOND_NS)


def test_a_delayed_start_has_its_first_task_when_the_delay_is_over() -> None:
    run = Run()
    run.start(start_request(workflow_start_delay=duration(MINUTE_NS)))
    assert run.kinds == ["WorkflowExecutionStarted"]
    run.sleep(MINUTE_NS - 1)
    assert run.kinds == ["WorkflowExecutionStarted"]
    run.sleep(1)
    assert run.kinds[1:] == ["WorkflowTaskScheduled"]


def test_rule_37_a_signal_does_not_shorten_the_delay() -> None:
    run = Run()
    run.start(start_request(workflow_start_delay=duration(MINUTE_NS)))
    run.signal()
    assert run.kinds == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled"]
    run.sleep(MINUTE_NS)
    assert run.kinds[2:] == ["WorkflowTaskScheduled"]


def test_rule_24_the_same_request_id_is_the_same_run_even_when_it_is_closed() -> None:
    for run in (running(), closed(RunStatus.COMPLETED)):
        response = start_again(run, request_id="start-1")
        assert response.started
        assert response.run_id == run.state.key.run_id
        assert response.status == run.state.status


def test_rule_22_a_running_id_is_taken() -> None:
    run = running()
    with pytest.raises(AlreadyExists) as caught:
        start_again(run)
    run_id = run.state.key.run_id
    assert caught.value.message == (
        f"Workflow execution is already running. WorkflowId: wf, RunId: {run_id}."
    )
    (detail,) = caught.value.details
    assert detail == errordetails.WorkflowExecutionAlreadyStartedFailure(
        start_request_id="start-1", run_id=run_id, first_execution_run_id=run_id
    )


def test_rule_22_reuse_policies_of_a_closed_run() -> None:
    completed, terminated = closed(RunStatus.COMPLETED), closed(RunStatus.TERMINATED)
    failed_only = Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
    for run in (completed, terminated):
        assert start_again(run).started
        with pytest.raises(AlreadyExists, match="reject duplicate workflow Id"):
            start_again(
                run, workflow_id_reuse_policy=Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
            )
    assert start_again(terminated, workflow_id_reuse_policy=failed_only).started
    with pytest.raises(AlreadyExists, match="finished successfully"):
        start_again(completed, workflow_id_reuse_policy=failed_only)


def test_rule_23_use_existing_answers_with_the_running_run() -> None:
    run = running()
    response = start_again(
        run, workflow_id_conflict_policy=Conflict.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    )
    assert (response.run_id, response.started) == (run.state.key.run_id, False)


@pytest.mark.parametrize(
    "policy",
    [
        {"workflow_id_conflict_policy": (Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING)},
        {"workflow_id_reuse_policy": Reuse.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING},
    ],
    ids=["conflict policy", "reuse policy"],
)
def test_rule_23_terminate_existing_makes_room(policy: dict[str, int]) -> None:
    run = running()
    run.poll_workflow()
    request = start_request(request_id="start-2", **policy)
    assert transitions.needs_existing(run.current, request)
    old, new = transitions.start(run.current, run.state, request, NAMESPACE, run.env)
    assert old.current is None, "the pointer goes to the new run"
    run.commit(old)
    assert run.kinds[-2:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    terminated = run.event("WorkflowExecutionTerminated")
    assert terminated.reason == "TerminateIfRunning WorkflowIdReusePolicy"
    assert new.reply.started
    assert new.reply.run_id != run.state.key.run_id
    assert new.current is not None
    assert new.current.run_id == new.reply.run_id


def test_bad_requests_are_refused() -> None:
    small = Run(limits=Limits(blob_size_bytes_max=10, memo_size_bytes_max=10))
    with pytest.raises(InvalidArgument, match="input has"):
        small.start(start_request(input=json_payloads("x" * 20)))
    with pytest.raises(InvalidArgument, match="memo has"):
        memo = common.Memo(fields={"k": common.Payload(data=b"x" * 20)})
        small.start(start_request(memo=memo))
    with pytest.raises(InvalidArgument, match="workflow_run_timeout"):
        Run().start(start_request(workflow_run_timeout=duration(-1)))
    with pytest.raises(InvalidArgument, match="retry policy"):
        policy = common.RetryPolicy(backoff_coefficient=0.5)
        Run().start(start_request(retry_policy=policy))


def test_rule_22_policies_that_contradict_each_other_are_refused() -> None:
    at_once, rejecting = (
        Reuse.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING,
        Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
    )
    failing, ending = (
        Conflict.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
        Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
    )
    refused = {(at_once, each) for each in Conflict.values() if each} | {(rejecting, ending)}
    assert (at_once, failing) in refused
    for reuse in Reuse.values():
        for conflict in Conflict.values():
            request = start_request(
                workflow_id_reuse_policy=reuse, workflow_id_conflict_policy=conflict
            )
            if (reuse, conflict) in refused:
                with pytest.raises(InvalidArgument, match="cannot be used together with"):
                    transitions.check_policies(request)
            else:
                transitions.check_policies(request)


@pytest.mark.parametrize("value", [-1, 5, 2**31 - 1])
def test_an_unknown_policy_is_taken_until_something_depends_on_it(value: int) -> None:
    conflict: dict[str, object] = {"workflow_id_conflict_policy": value}
    reuse: dict[str, object] = {"workflow_id_reuse_policy": value}
    Run().start(start_request(**conflict, **reuse))
    with pytest.raises(InvalidArgument, match=f"WorkflowIdConflictPolicy {value} is unknown"):
        start_again(running(), **conflict)
    with pytest.raises(AlreadyExists, match="already running"):
        start_again(running(), **reuse)
    ended = closed(RunStatus.COMPLETED)
    with pytest.raises(InvalidArgument, match=f"WorkflowIdReusePolicy {value} is unknown"):
        start_again(ended, **reuse)
    assert start_again(ended, **conflict).started


def test_rule_34_an_eager_start_hands_the_first_task_to_the_caller() -> None:
    run = Run()
    reply = run.start(start_request(request_eager_execution=True))
    assert isinstance(reply, EagerStartReply)
    assert run.kinds == ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert run.event("WorkflowExecutionStarted").eager_execution_accepted
    assert not run.tasks, "nobody else is offered the task"
    assert (reply.task.first_event_id, reply.task.last_event_id) == (1, 3)
    run.complete(reply.task)
    assert run.kinds[-1] == "WorkflowTaskCompleted"


def test_an_eager_task_that_nobody_answers_times_out() -> None:
    run = Run()
    run.start(start_request(request_eager_execution=True))
    run.sleep(11 * SECOND_NS)
    assert run.kinds[-1] == "WorkflowTaskTimedOut"
    assert run.tasks


def test_a_delayed_start_is_not_eager() -> None:
    run = Run()
    delay = duration(SECOND_NS)
    reply = run.start(start_request(request_eager_execution=True, workflow_start_delay=delay))
    assert not isinstance(reply, EagerStartReply)
    assert not run.event("WorkflowExecutionStarted").eager_execution_accepted
