"""Nexus operations: how they start, end and are cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.replay import commands as cmd
from perdure.replay.jobs import (
    Cancelled,
    Completed,
    Failed,
    NexusStarted,
    ResolveNexusOperation,
    ResolveNexusOperationStart,
)
from perdure.replay.mismatch import AttributeDiff
from perdure.wire.api import common
from perdure.wire.api import failure as failures
from tests.unit.replay.build import Driver, Events, live, payload, script
from tests.unit.replay.test_engine import types

Cancel = cmd.NexusOperationCancellationType
BROKE = failures.Failure(message="it broke")


def operation(cancel: cmd.NexusOperationCancellationType = Cancel.TRY_CANCEL) -> cmd.Command:
    return cmd.ScheduleNexusOperation(
        seq=1, endpoint="end", service="bank", operation="pay", cancellation_type=cancel
    )


def scheduled(name: str = "pay", *, started: bool = False) -> tuple[Events, int]:
    events = Events().start()
    event_id = events.completed().add(
        "NexusOperationScheduled", endpoint="end", service="bank", operation=name
    )
    if started:
        events.add("NexusOperationStarted", scheduled_event_id=event_id, operation_token="tok")
    return events, event_id


def resolutions(events: Events) -> tuple[Any, ...]:
    driver = Driver(script([operation()]))
    driver.feed(live(events.task(), previous=3))
    assert driver.engine.error is None
    assert driver.engine.pending_operations == 0
    return driver.seen[1].jobs


def test_an_asynchronous_operation_starts_and_completes() -> None:
    events, event_id = scheduled(started=True)
    events.add("NexusOperationCompleted", scheduled_event_id=event_id, result=payload("paid"))
    assert resolutions(events) == (
        ResolveNexusOperationStart(1, NexusStarted("tok")),
        ResolveNexusOperation(1, Completed(payload("paid"))),
    )


def test_a_synchronous_operation_starts_by_completing() -> None:
    events, event_id = scheduled()
    events.add("NexusOperationCompleted", scheduled_event_id=event_id)
    assert resolutions(events) == (
        ResolveNexusOperationStart(1, NexusStarted(None)),
        ResolveNexusOperation(1, Completed(common.Payload())),
    )


@pytest.mark.parametrize("outcome", ["Failed", "TimedOut", "Canceled"])
def test_an_operation_that_ends_before_it_starts_fails_its_start(outcome: str) -> None:
    events, event_id = scheduled()
    events.add(f"NexusOperation{outcome}", scheduled_event_id=event_id, failure=BROKE)
    assert resolutions(events) == (ResolveNexusOperationStart(1, Failed(BROKE)),)


@pytest.mark.parametrize(
    ("outcome", "kind"), [("Failed", Failed), ("TimedOut", Failed), ("Canceled", Cancelled)]
)
def test_a_started_operation_fails(outcome: str, kind: type) -> None:
    events, event_id = scheduled(started=True)
    events.add(f"NexusOperation{outcome}", scheduled_event_id=event_id)
    job = resolutions(events)[1]
    assert isinstance(job.result, kind)
    assert "failure field was not populated" in job.result.failure.message


@pytest.mark.parametrize("times", [1, 2])
def test_an_operation_cancelled_in_its_own_task_never_leaves(times: int) -> None:
    cancel = cmd.RequestCancelNexusOperation(seq=1)
    driver = Driver(script([operation(), *([cancel] * times)]))
    answer = driver.feed(live(Events().start()))
    assert types(answer) == []
    job = driver.seen[1].jobs[0]
    assert isinstance(job, ResolveNexusOperationStart)
    assert isinstance(job.outcome, Failed)
    assert job.outcome.failure.message == "Nexus Operation cancelled before scheduled"


@pytest.mark.parametrize(
    ("cancel", "sent", "resolved"),
    [
        (Cancel.ABANDON, [], True),
        (Cancel.TRY_CANCEL, ["REQUEST_CANCEL_NEXUS_OPERATION"], True),
        (Cancel.WAIT_CANCELLATION_COMPLETED, ["REQUEST_CANCEL_NEXUS_OPERATION"], False),
        (Cancel.WAIT_CANCELLATION_REQUESTED, ["REQUEST_CANCEL_NEXUS_OPERATION"], False),
    ],
)
def test_cancelling_a_started_operation(
    cancel: cmd.NexusOperationCancellationType, sent: list[str], resolved: bool
) -> None:
    events, event_id = scheduled(started=True)
    events.signal().task()
    twice = [cmd.RequestCancelNexusOperation(seq=1)] * 2
    driver = Driver(script([operation(cancel)], twice))
    answer = driver.feed(live(events, previous=3))
    assert types(answer) == sent
    assert (driver.jobs[2:] == [["ResolveNexusOperation"]]) is resolved
    driver.engine.task_reported()
    began, seen = len(events), len(driver.seen)
    events.completed()
    if sent:
        events.add("NexusOperationCancelRequested", scheduled_event_id=event_id)
        events.add("NexusOperationCancelRequestCompleted", scheduled_event_id=event_id)
    events.add("NexusOperationCompleted", scheduled_event_id=event_id)
    events.signal().task()
    driver.feed(live(events[began:], previous=began))
    assert driver.engine.error is None
    late = [name for name in driver.jobs[seen] if name != "SignalWorkflow"]
    assert late == ([] if resolved else ["ResolveNexusOperation"])
    if cancel is Cancel.WAIT_CANCELLATION_REQUESTED:
        job = driver.seen[seen].jobs[-1]
        assert isinstance(job, ResolveNexusOperation)
        assert isinstance(job.result, Cancelled)
        info = job.result.failure.nexus_operation_execution_failure_info
        assert (info.operation, info.operation_token) == ("pay", "tok")


def test_a_refused_cancel_request_is_told_when_waited_for() -> None:
    events, event_id = scheduled(started=True)
    events.signal().task()
    cancel = [cmd.RequestCancelNexusOperation(seq=1)]
    driver = Driver(script([operation(Cancel.WAIT_CANCELLATION_REQUESTED)], cancel))
    driver.feed(live(events, previous=3))
    driver.engine.task_reported()
    began = len(events)
    events.completed().add("NexusOperationCancelRequested", scheduled_event_id=event_id)
    refused = "NexusOperationCancelRequestFailed"
    events.add(refused, scheduled_event_id=event_id, failure=BROKE)
    events.task()
    driver.feed(live(events[began:], previous=began))
    job = driver.seen[-1].jobs[0]
    assert isinstance(job, ResolveNexusOperation)
    assert isinstance(job.result, Failed)
    assert job.result.failure.cause == BROKE


def test_another_operation_is_a_mismatch() -> None:
    events, _ = scheduled("refund")
    found = Driver(script([operation()])).replay(events.signal().task()).engine.mismatch
    assert found is not None
    assert found.difference == AttributeDiff("nexus operation", "refund", "pay")
