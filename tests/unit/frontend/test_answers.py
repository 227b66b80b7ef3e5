"""Whole answers, field by field: what clients and workers are told of namespaces, servers, runs and tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import __version__
from perdure.core.limits import Limits
from perdure.core.units import SECOND_NS
from perdure.server.frontend.rpcs import RPCS
from perdure.testing.simulation.loop import EPOCH_NS
from perdure.wire.api import (
    common,
    enums,
    namespace,
    query,
    replication,
    taskqueue,
    version,
    workflowservice,
)
from perdure.wire.errors import InvalidArgument, NotFound
from perdure.wire.times import duration, timestamp
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import QUEUE, Caller, schedule_activity, settle, virtual_caller
from tests.unit.server.virtual import on_virtual_time

DAY_S = 86_400


@on_virtual_time
async def test_what_a_namespace_is_described_as():
    async with virtual_caller(Limits(memo_size_bytes_max=777)) as caller:
        await caller.call(
            "RegisterNamespace",
            namespace="shop",
            description="all of it",
            owner_email="me@example.com",
            data={"a": "b"},
            workflow_execution_retention_period={"seconds": 3 * DAY_S},
        )
        described = await caller.call("DescribeNamespace", namespace="shop")
        assert described == workflowservice.DescribeNamespaceResponse(
            namespace_info=namespace.NamespaceInfo(
                name="shop",
                id=described.namespace_info.id,
                state=enums.NAMESPACE_STATE_REGISTERED,
                description="all of it",
                owner_email="me@example.com",
                data={"a": "b"},
                capabilities=namespace.NamespaceInfo.Capabilities(
                    eager_workflow_start=True,
                    worker_poll_complete_on_shutdown=True,
                    sync_update=True,
                    async_update=True,
                ),
                limits=namespace.NamespaceInfo.Limits(
                    blob_size_limit_error=2 * 1024 * 1024, memo_size_limit_error=777
                ),
            ),
            config=namespace.NamespaceConfig(
                workflow_execution_retention_ttl=duration(3 * DAY_S * SECOND_NS),
                history_archival_state=enums.ARCHIVAL_STATE_DISABLED,
                visibility_archival_state=enums.ARCHIVAL_STATE_DISABLED,
            ),
            replication_config=replication.NamespaceReplicationConfig(
                active_cluster_name="active",
                clusters=[replication.ClusterReplicationConfig(cluster_name="active")],
            ),
        )
        assert described.namespace_info.id
        own = await caller.call("DescribeNamespace", namespace="default")
        assert own.config.workflow_execution_retention_ttl.seconds == 36_500 * DAY_S
        with pytest.raises(NotFound, match="nothing"):
            await caller.call("DescribeNamespace", namespace="", id="nothing")
        with pytest.raises(InvalidArgument, match="must not be negative"):
            await caller.call(
                "RegisterNamespace",
                namespace="x",
                workflow_execution_retention_period={"seconds": -1},
            )


async def test_namespaces_come_in_pages_of_the_size_that_was_asked_for(caller: Caller):
    for name in ("a", "b", "c"):
        await caller.call("RegisterNamespace", namespace=name)
    found: list[list[str]] = []
    token = b""
    while True:
        page = await caller.call("ListNamespaces", page_size=2, next_page_token=token)
        found.append([each.namespace_info.name for each in page.namespaces])
        token = page.next_page_token
        if not token:
            break
    assert found == [["a", "b"], ["c", "default"]], "an exactly full page may be the last"
    everything = await caller.call("ListNamespaces")
    assert (len(everything.namespaces), everything.next_page_token) == (4, b"")


async def test_what_the_server_says_of_itself(caller: Caller):
    info = await caller.call("GetSystemInfo")
    assert info == workflowservice.GetSystemInfoResponse(
        server_version="1.32.0",
        capabilities=workflowservice.GetSystemInfoResponse.Capabilities(
            signal_and_query_header=True,
            internal_error_differentiation=True,
            activity_failure_include_heartbeat=True,
            encoded_failure_attributes=True,
            upsert_memo=True,
            eager_workflow_start=True,
            sdk_metadata=True,
            count_group_by_execution_status=True,
        ),
    )
    cluster = await caller.call("GetClusterInfo")
    own = await caller.call("DescribeNamespace")
    assert cluster == workflowservice.GetClusterInfoResponse(
        server_version="1.32.0",
        cluster_id=own.namespace_info.id,
        cluster_name="active",
        version_info=version.VersionInfo(
            current=version.ReleaseInfo(version="1.32.0", notes=f"Perdure {__version__}")
        ),
        history_shard_count=4,
        persistence_store="sqlite",
        visibility_store="sqlite",
    )


@on_virtual_time
async def test_what_a_task_queue_is_described_as():
    async with virtual_caller() as caller:
        activities = enums.TASK_QUEUE_TYPE_ACTIVITY
        poll = asyncio.ensure_future(
            caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE}, identity="acts")
        )
        await caller.poll(timeout_ns=3 * SECOND_NS)
        await asyncio.sleep(3)
        described = await caller.call("DescribeTaskQueue", task_queue={"name": QUEUE})
        (poller,) = described.pollers
        assert poller == taskqueue.PollerInfo(
            identity="worker", last_access_time=timestamp(EPOCH_NS), rate_per_second=100_000.0
        )
        assert not described.HasField("task_queue_status")
        described = await caller.call(
            "DescribeTaskQueue",
            task_queue={"name": QUEUE},
            task_queue_type=activities,
            include_task_queue_status=True,
        )
        assert [each.identity for each in described.pollers] == ["acts"]
        assert described.HasField("task_queue_status")
        assert described.task_queue_status.backlog_count_hint == 0
        poll.cancel()
        await settle()
        await caller.poll(timeout_ns=2 * SECOND_NS)
        for number in range(3):
            await caller.start(f"w{number}")
        waiting = await caller.call(
            "DescribeTaskQueue", task_queue={"name": QUEUE}, include_task_queue_status=True
        )
        assert waiting.task_queue_status.backlog_count_hint == 3


@on_virtual_time
async def test_what_a_worker_is_told_of_a_workflow_task():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        await asyncio.sleep(3)
        task = await caller.poll()
        history = await caller.history()
        assert task.task_token
        expected = workflowservice.PollWorkflowTaskQueueResponse(
            task_token=task.task_token,
            workflow_execution=common.WorkflowExecution(workflow_id="w", run_id=run_id),
            workflow_type=common.WorkflowType(name="Greeting"),
            started_event_id=3,
            attempt=1,
            scheduled_time=timestamp(EPOCH_NS),
            started_time=timestamp(EPOCH_NS + 3 * SECOND_NS),
            workflow_execution_task_queue=taskqueue.TaskQueue(
                name=QUEUE, kind=enums.TASK_QUEUE_KIND_NORMAL
            ),
            history=history.history,
        )
        assert task == expected


@on_virtual_time
async def test_what_a_worker_is_told_of_a_query():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        await caller.complete(await caller.poll())
        question = query.WorkflowQuery(
            query_type="stage", query_args=common.Payloads(payloads=[common.Payload(data=b"x")])
        )
        asked = asyncio.ensure_future(
            caller.call("QueryWorkflow", execution={"workflow_id": "w"}, query=question)
        )
        task = await caller.poll()
        history = await caller.history()
        assert task.task_token
        assert task == workflowservice.PollWorkflowTaskQueueResponse(
            task_token=task.task_token,
            workflow_execution=common.WorkflowExecution(workflow_id="w", run_id=run_id),
            workflow_type=common.WorkflowType(name="Greeting"),
            previous_started_event_id=3,
            attempt=1,
            query=question,
            workflow_execution_task_queue=taskqueue.TaskQueue(
                name=QUEUE, kind=enums.TASK_QUEUE_KIND_NORMAL
            ),
            history=history.history,
        )
        asked.cancel()


@on_virtual_time
async def test_what_a_worker_is_told_of_an_activity():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        asked = schedule_activity("a")
        fields = asked.schedule_activity_task_command_attributes
        fields.input.payloads.add(data=b"input")
        fields.header.fields["h"].data = b"header"
        fields.heartbeat_timeout.FromSeconds(7)
        fields.schedule_to_close_timeout.FromSeconds(500)
        fields.retry_policy.initial_interval.FromSeconds(2)
        fields.retry_policy.backoff_coefficient = 2
        fields.priority.priority_key = 2
        await caller.complete(await caller.poll(), asked)
        await asyncio.sleep(5)
        polls = {"task_queue": {"name": QUEUE}, "identity": "me"}
        first: Any = await caller.call("PollActivityTaskQueue", None, None, **polls)
        await caller.call(
            "RecordActivityTaskHeartbeat",
            task_token=first.task_token,
            details={"payloads": [{"data": b"half"}]},
        )
        await caller.call(
            "RespondActivityTaskFailed", task_token=first.task_token, failure={"message": "x"}
        )
        second: Any = await caller.call("PollActivityTaskQueue", None, None, **polls)
        for activity, attempt in ((first, 1), (second, 2)):
            started_ns = EPOCH_NS + (5 if attempt == 1 else 7) * SECOND_NS
            expected = workflowservice.PollActivityTaskQueueResponse(
                task_token=activity.task_token,
                workflow_namespace="default",
                workflow_type=common.WorkflowType(name="Greeting"),
                workflow_execution=common.WorkflowExecution(workflow_id="w", run_id=run_id),
                activity_id="a",
                attempt=attempt,
                scheduled_time=timestamp(EPOCH_NS),
                current_attempt_scheduled_time=timestamp(EPOCH_NS if attempt == 1 else started_ns),
                started_time=timestamp(started_ns),
                activity_type=common.ActivityType(name="greet"),
                schedule_to_close_timeout=duration(500 * SECOND_NS),
                start_to_close_timeout=duration(60 * SECOND_NS),
                heartbeat_timeout=duration(7 * SECOND_NS),
                header=fields.header,
                input=fields.input,
                retry_policy=activity.retry_policy,
                priority=fields.priority,
            )
            if attempt == 2:
                expected.heartbeat_details.payloads.add(data=b"half")
            assert activity == expected
            assert activity.retry_policy.initial_interval.seconds == 2


@on_virtual_time
async def test_what_comes_with_a_completion():
    async with virtual_caller() as caller:
        await caller.start()
        eager = schedule_activity("eager")
        eager.schedule_activity_task_command_attributes.request_eager_execution = True
        answer = await caller.complete(await caller.poll(), eager)
        (activity,) = answer.activity_tasks
        assert (activity.activity_id, activity.attempt) == ("eager", 1)
        assert activity.workflow_namespace == "default"
        for field in ("input", "header", "priority", "heartbeat_details"):
            assert not activity.HasField(field), "what was not given is not there"
        assert not answer.HasField("workflow_task")
        await caller.call("RespondActivityTaskCompleted", task_token=activity.task_token)


@on_virtual_time
async def test_an_eager_start_brings_its_first_task():
    async with virtual_caller() as caller:
        fields: dict[str, Any] = {
            "workflow_id": "w",
            "workflow_type": {"name": "Greeting"},
            "task_queue": {"name": QUEUE},
            "request_eager_execution": True,
            "identity": "me",
        }
        answer = await caller.call("StartWorkflowExecution", **fields)
        assert answer.started
        task = answer.eager_workflow_task
        assert [each.event_id for each in task.history.events] == [1, 2, 3]
        assert task.workflow_execution.run_id == answer.run_id
        await caller.complete(task, complete_workflow())


async def test_the_server_claims_a_feature_only_if_its_rpcs_exist(caller: Caller):
    needed = {
        "supports_schedules": {"CreateSchedule", "ListSchedules"},
        "nexus": {"PollNexusTaskQueue", "RespondNexusTaskCompleted", "CreateNexusEndpoint"},
        "build_id_based_versioning": {"UpdateWorkerBuildIdCompatibility"},
        "server_scaled_deployments": {"CreateWorkerDeployment"},
    }
    claimed = (await caller.call("GetSystemInfo")).capabilities
    there = {row.method.name for row in RPCS.values()}
    for flag, methods in needed.items():
        assert getattr(claimed, flag) is (methods <= there), flag
