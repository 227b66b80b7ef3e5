"""`workflow.info()` as a whole: from a start event that says everything, and from one that says little."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from perdure import workflow
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from perdure.converter import encode_search_attributes
from perdure.replay import jobs
from perdure.wire.api import common
from tests.unit.worker_host.doing import TO_RUN, Does, forever
from tests.unit.worker_host.driver import START_NS, Driver, payloads

ATTRIBUTES = TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_int("Int"), 5)])
PRIORITY = Priority(priority_key=2)
RETRY = RetryPolicy(
    maximum_attempts=3,
    initial_interval=timedelta(seconds=2),
    maximum_interval=timedelta(seconds=9),
    non_retryable_error_types=["Bad"],
)
STARTED = datetime.fromtimestamp(START_NS // 10**9, UTC)
SECONDS = timedelta(seconds=1)
SEEN: list[workflow.Info] = []


async def look() -> None:
    SEEN.append(workflow.info())
    await forever()


def info_of(run: Driver, headers: dict[str, common.Payload]) -> dict[str, Any]:
    SEEN.clear()
    TO_RUN[:] = [look]
    run.activate(
        jobs.InitializeWorkflow(
            workflow_id="w",
            workflow_type="Does",
            arguments=[],
            randomness_seed=1,
            headers=headers,
            start_time_ns=START_NS + 5_000,
            attributes=run.attributes,
        )
    )
    (info,) = SEEN
    return {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}


def test_everything_is_said() -> None:
    run = Driver(Does)
    started = run.attributes
    started.attempt = 4
    started.continued_execution_run_id = "before"
    started.cron_schedule = "* * * * *"
    started.workflow_execution_timeout.CopyFrom(Duration(seconds=30))
    started.workflow_run_timeout.CopyFrom(Duration(seconds=20))
    started.workflow_task_timeout.CopyFrom(Duration(seconds=10))
    started.first_execution_run_id = "first"
    started.original_execution_run_id = "original"
    started.parent_workflow_namespace = "theirs"
    started.parent_workflow_execution.workflow_id = "p"
    started.parent_workflow_execution.run_id = "p-run"
    started.root_workflow_execution.workflow_id = "root"
    started.root_workflow_execution.run_id = "root-run"
    started.priority.CopyFrom(PRIORITY.to_proto())
    started.memo.fields["b"].CopyFrom(payloads(2)[0])
    started.memo.fields["a"].CopyFrom(payloads(1)[0])
    RETRY.apply_to_proto(started.retry_policy)
    encode_search_attributes(ATTRIBUTES, started.search_attributes)
    header = payloads("header")[0]
    found = info_of(run, {"trace": header})
    assert list(found["raw_memo"]) == ["a", "b"], "in a fixed order"
    assert found == {
        "attempt": 4,
        "continued_run_id": "before",
        "cron_schedule": "* * * * *",
        "execution_timeout": 30 * SECONDS,
        "first_execution_run_id": "first",
        "headers": {"trace": header},
        "namespace": "default",
        "original_execution_run_id": "original",
        "parent": workflow.ParentInfo(namespace="theirs", run_id="p-run", workflow_id="p"),
        "root": workflow.RootInfo(run_id="root-run", workflow_id="root"),
        "priority": PRIORITY,
        "raw_memo": {"a": payloads(1)[0], "b": payloads(2)[0]},
        "retry_policy": RETRY,
        "run_id": "r",
        "run_timeout": 20 * SECONDS,
        "search_attributes": {"Int": [5]},
        "start_time": STARTED + SECONDS,
        "task_queue": "queue",
        "task_timeout": 10 * SECONDS,
        "typed_search_attributes": ATTRIBUTES,
        "workflow_id": "w",
        "workflow_start_time": STARTED + timedelta(microseconds=5),
        "workflow_type": "Does",
    }


def test_little_is_said() -> None:
    run = Driver(Does)
    run.attributes.Clear()
    found = info_of(run, {})
    assert found == {
        "attempt": 0,
        "continued_run_id": None,
        "cron_schedule": None,
        "execution_timeout": None,
        "first_execution_run_id": "",
        "headers": {},
        "namespace": "default",
        "original_execution_run_id": "r",
        "parent": None,
        "root": None,
        "priority": Priority.default,
        "raw_memo": {},
        "retry_policy": None,
        "run_id": "r",
        "run_timeout": None,
        "search_attributes": {},
        "start_time": STARTED + SECONDS,
        "task_queue": "queue",
        "task_timeout": timedelta(),
        "typed_search_attributes": TypedSearchAttributes([]),
        "workflow_id": "w",
        "workflow_start_time": STARTED + timedelta(microseconds=5),
        "workflow_type": "Does",
    }
