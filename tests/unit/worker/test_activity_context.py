"""What an activity sees of its task, in which context its payloads are converted, and what can be registered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import activity
from perdure.common import RawValue
from perdure.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    SerializationContext,
)
from perdure.wire.api import common, workflowservice
from perdure.wire.times import duration, timestamp
from perdure.worker.activity.registry import ActivityRegistry
from tests.unit.worker.harness import CONVERTER, Harness
from tests.unit.worker.scripted import activity_task

SECOND_NS = 1_000_000_000
seen: list[Any]


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    global seen  # noqa: PLW0603 - activities are plain functions
    seen = []


async def test_the_info_says_all_that_the_task_does() -> None:
    @activity.defn
    async def tell() -> None:
        seen.append(activity.info())

    task = workflowservice.PollActivityTaskQueueResponse(
        task_token=b"token",
        attempt=3,
        activity_id="id",
        activity_type=common.ActivityType(name="tell"),
        workflow_type=common.WorkflowType(name="Order"),
        workflow_namespace="shop",
        workflow_execution=common.WorkflowExecution(workflow_id="w", run_id="r"),
        current_attempt_scheduled_time=timestamp(1 * SECOND_NS),
        scheduled_time=timestamp(2 * SECOND_NS),
        started_time=timestamp(3 * SECOND_NS),
        heartbeat_timeout=duration(4 * SECOND_NS),
        schedule_to_close_timeout=duration(5 * SECOND_NS),
        start_to_close_timeout=duration(6 * SECOND_NS),
        priority=common.Priority(priority_key=7),
        retry_policy=common.RetryPolicy(maximum_attempts=8),
    )
    task.heartbeat_details.payloads.extend(await CONVERTER.encode(["d"]))
    harness = Harness(tell)
    await harness.activities.handle(task)
    (info,) = seen

    def moment(second: int) -> datetime:
        return datetime.fromtimestamp(second, UTC)

    assert {each.name: getattr(info, each.name) for each in fields(info)} == {
        "activity_id": "id",
        "activity_type": "tell",
        "attempt": 3,
        "current_attempt_scheduled_time": moment(1),
        "heartbeat_details": ["d"],
        "heartbeat_timeout": timedelta(seconds=4),
        "is_local": False,
        "namespace": "shop",
        "schedule_to_close_timeout": timedelta(seconds=5),
        "scheduled_time": moment(2),
        "start_to_close_timeout": timedelta(seconds=6),
        "started_time": moment(3),
        "task_queue": "queue",
        "task_token": b"token",
        "workflow_id": "w",
        "workflow_namespace": "shop",
        "workflow_run_id": "r",
        "workflow_type": "Order",
        "priority": info.priority,
        "retry_policy": info.retry_policy,
        "activity_run_id": None,
        "fencing_token": 3 * SECOND_NS + 3,
    }
    assert info.priority.priority_key == 7
    assert info.retry_policy.maximum_attempts == 8
    assert info.in_workflow

    alone = workflowservice.PollActivityTaskQueueResponse(task_token=b"t", activity_run_id="own")
    alone.activity_type.name = "tell"
    await harness.activities.handle(alone)
    info = seen[1]
    assert (info.namespace, info.workflow_namespace, info.workflow_id) == ("default", None, None)
    assert (info.activity_run_id, info.retry_policy, info.heartbeat_timeout) == ("own", None, None)
    assert info.fencing_token is None, "the server did not say when it started"
    assert (info.workflow_run_id, info.workflow_type, info.in_workflow) == (None, None, False)
    assert info.priority.priority_key is None


class Contextual(DefaultPayloadConverter):
    def with_context(self, context: SerializationContext) -> Contextual:
        seen.append(context)
        return self


@pytest.mark.parametrize("is_local", [False, True])
async def test_payloads_are_converted_in_the_activity_s_context(is_local: bool) -> None:
    @activity.defn
    async def work() -> None: ...

    harness = Harness(work, converter=DataConverter(payload_converter_class=Contextual))
    task = activity_task("work", activity_id="id")
    task.workflow_type.name = "Order"
    if is_local:
        await harness.activities.run_local(task, harness.activities.new_attempt(task))
    else:
        await harness.activities.handle(task)
    assert seen == [
        ActivitySerializationContext(
            namespace="default",
            activity_id="id",
            activity_type="work",
            activity_task_queue="queue",
            workflow_id="workflow-1",
            workflow_type="Order",
            is_local=is_local,
        )
    ]


def test_what_can_not_be_registered() -> None:
    class Called:
        @activity.defn
        async def method(self) -> None: ...

    @activity.defn
    class Callable:
        async def __call__(self) -> None: ...

    @activity.defn
    def blocking() -> None: ...

    one, two = (activity.defn(dynamic=True)(each) for each in _two_dynamic())
    with pytest.raises(TypeError, match="More than one dynamic activity"):
        ActivityRegistry([one, two], None)
    with pytest.raises(TypeError, match="named Callable is a class instead of an instance"):
        ActivityRegistry([Callable], None)
    with pytest.warns(UserWarning, match="method has a first parameter named self"):
        ActivityRegistry([Called.method], None)
    with pytest.raises(ValueError, match="not a ThreadPoolExecutor"), _Inline() as executor:
        ActivityRegistry([blocking], executor)
    registry = ActivityRegistry([Called().method, one], None)
    assert registry.names == ["method"]
    found, other = registry.find("method"), registry.find("anything")
    assert found is not None
    assert other is not None
    assert (found.name, other.name) == ("method", None)
    assert ActivityRegistry([Called().method], None).find("anything") is None


class _Inline(Executor):
    """No pool of threads."""


def _two_dynamic() -> list[Any]:
    async def first(args: Sequence[RawValue]) -> int:
        return len(args)

    async def second(args: Sequence[RawValue]) -> int:
        return len(args)

    return [first, second]


async def test_heartbeat_details_that_can_not_be_decoded_are_a_failure_for_good() -> None:
    @activity.defn
    async def work() -> None: ...

    task = activity_task("work")
    task.heartbeat_details.payloads.add(metadata={"encoding": b"json/plain"}, data=b"{")
    harness = Harness(work)
    await harness.activities.handle(task)
    assert harness.failure().message == "Failed decoding heartbeat details"
    assert harness.failure().application_failure_info.non_retryable


class Odd(DefaultFailureConverter):
    def to_failure(self, exception: Any, payload_converter: Any, failure: Any) -> None:
        raise LookupError("secret")


async def test_a_failure_converter_that_fails_is_named_instead() -> None:
    @activity.defn
    async def work() -> None:
        raise ValueError("no")

    harness = Harness(work, converter=DataConverter(failure_converter_class=Odd))
    await harness.run("work")
    assert harness.failure().message == "Failed building exception result: LookupError"
    assert harness.failure().HasField("application_failure_info")


async def test_an_object_with_an_async_call_runs_on_the_loop() -> None:
    harness = Harness(_Callable())
    await harness.run("_Callable")
    assert await harness.result() == "called"


@activity.defn
class _Callable:
    async def __call__(self) -> str:
        return "called"
