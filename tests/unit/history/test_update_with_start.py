"""Update-with-start: which of the two operations is done, and whose fault an error is (S-21)."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.history import transitions
from perdure.history.draft.transition import RunTransition
from perdure.history.run.update_with_start import StartedAndAdmitted
from perdure.wire.api import enums, errordetails
from perdure.wire.errors import AlreadyExists, NotFound, ResourceExhausted, RpcError, RPCStatusCode
from tests.unit.history.harness import NAMESPACE, Run, complete_workflow, start_request
from tests.unit.history.test_update import acceptance, answer, response

USE_EXISTING = enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING


def both(
    run: Run, update_id: str = "u", *, waiting: int | None = 0, **fields: Any
) -> tuple[RunTransition, ...]:
    values: dict[str, Any] = {"request_id": "another"}
    request = start_request(**(values | fields))
    existing = run.state if run.current else None
    return transitions.update_with_start(
        run.current, existing, request, update_id, waiting, NAMESPACE, run.env
    )


def reply(made: tuple[RunTransition, ...]) -> StartedAndAdmitted:
    return made[-1].reply


def statuses(error: RpcError) -> list[int]:
    (detail,) = error.details
    assert isinstance(detail, errordetails.MultiOperationExecutionFailure)
    return [status.code for status in detail.statuses]


def started_run() -> Run:
    run = Run()
    run.start()
    return run


def test_without_a_run_one_is_started_and_its_first_task_carries_the_update() -> None:
    run = Run()
    made = both(run)
    for transition in made:
        run.commit(transition)
    answered = reply(made)
    assert answered.started.started
    assert answered.admission.is_new
    assert answered.admission.run_id == answered.started.run_id == run.state.key.run_id
    assert run.kinds == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


@pytest.mark.parametrize(
    ("fields", "waiting"),
    [
        ({"workflow_id_conflict_policy": USE_EXISTING}, 0),
        ({"request_id": "start-1"}, 0),
        ({}, None),
    ],
    ids=["wanted", "the same start again", "the update waits already"],
)
def test_the_running_workflow_takes_the_update(fields: dict[str, Any], waiting: int | None) -> None:
    run = started_run()
    answered = reply(both(run, waiting=waiting, **fields))
    assert not answered.started.started
    assert answered.started.run_id == run.state.key.run_id
    assert answered.admission.is_new


def test_a_known_update_is_found_again_also_when_its_run_has_closed() -> None:
    run = started_run()
    answer(run, acceptance(), response(), commands=[])
    assert not reply(both(run)).admission.is_new
    run.signal()
    run.step(complete_workflow(), sticky=False)
    answered = reply(both(run))
    assert not answered.admission.is_new
    assert answered.started.status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
    assert reply(both(run, "v")).started.started, "another update starts another run"


def test_an_error_of_the_start_aborts_the_update() -> None:
    with pytest.raises(AlreadyExists, match="Update-with-Start") as raised:
        both(started_run())
    assert statuses(raised.value) == [RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.ABORTED]


def test_an_error_of_the_update_aborts_the_start() -> None:
    run = started_run()
    with pytest.raises(ResourceExhausted) as raised:
        both(run, waiting=10, workflow_id_conflict_policy=USE_EXISTING)
    assert statuses(raised.value) == [RPCStatusCode.ABORTED, RPCStatusCode.RESOURCE_EXHAUSTED]
    run.step(complete_workflow(), sticky=False)
    with pytest.raises(NotFound) as raised_again:
        both(run, request_id="start-1")
    assert statuses(raised_again.value) == [RPCStatusCode.ABORTED, RPCStatusCode.NOT_FOUND]
