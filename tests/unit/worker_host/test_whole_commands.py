"""Commands as a whole, with every option and with none: what workflow code says is what the engine gets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure import activity, workflow
from perdure.common import (
    PinnedVersioningOverride,
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkerDeploymentVersion,
    WorkflowIDReusePolicy,
)
from perdure.converter import encode_search_attributes
from perdure.replay import commands
from perdure.wire.api import common, enums
from tests.unit.worker_host.doing import doing
from tests.unit.worker_host.driver import CONVERTER, names, one, payloads
from tests.unit.worker_host.heading import HEADERS, Inbound

RETRY = RetryPolicy(maximum_attempts=3, initial_interval=timedelta(seconds=2))
PRIORITY = Priority(priority_key=2)
ATTRIBUTES = TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_int("Int"), 5)])
OVERRIDE = PinnedVersioningOverride(WorkerDeploymentVersion("d", "b"))
SECONDS = {n: timedelta(seconds=n) for n in range(1, 10)}
NS = 1_000_000_000


def retry() -> common.RetryPolicy:
    made = common.RetryPolicy()
    RETRY.apply_to_proto(made)
    return made


def attributes() -> common.SearchAttributes:
    made = common.SearchAttributes()
    encode_search_attributes(ATTRIBUTES, made)
    return made


def text(value: str) -> common.Payload:
    return CONVERTER.to_payload(value)


def fields(command: Any) -> dict[str, Any]:
    """All fields of a command but the user's line, which every one must have."""
    found = msgspec.structs.asdict(command)
    assert found.pop("site") is not None
    return found


def only(work: Any, kind: type[Any], **options: Any) -> Any:
    """The one command of this kind that work issues."""
    (found,) = (each for each in doing(work, **options)[1] if isinstance(each, kind))
    return found


# Activities ---------------------------------------------------------------------------------------


def activity_with_all() -> Any:
    return workflow.start_activity(
        "act",
        args=[1, "two"],
        task_queue="other",
        schedule_to_close_timeout=SECONDS[4],
        schedule_to_start_timeout=SECONDS[3],
        start_to_close_timeout=SECONDS[2],
        heartbeat_timeout=SECONDS[1],
        retry_policy=RETRY,
        cancellation_type=workflow.ActivityCancellationType.ABANDON,
        activity_id="a-1",
        versioning_intent=workflow.VersioningIntent.COMPATIBLE,
        summary="in short",
        priority=PRIORITY,
    )


@pytest.mark.parametrize("lazily", [True, False])
def test_an_activity_with_everything(lazily: bool) -> None:
    command = only(
        activity_with_all,
        commands.ScheduleActivity,
        interceptor_classes=[Inbound],
        disable_eager_activity_execution=lazily,
    )
    assert list(command.headers) == ["a", "b"], "in a fixed order"
    assert fields(command) == {
        "seq": 1,
        "activity_id": "a-1",
        "activity_type": "act",
        "task_queue": "other",
        "headers": HEADERS,
        "arguments": payloads(1, "two"),
        "schedule_to_close_timeout_ns": 4 * NS,
        "schedule_to_start_timeout_ns": 3 * NS,
        "start_to_close_timeout_ns": 2 * NS,
        "heartbeat_timeout_ns": NS,
        "retry_policy": retry(),
        "cancellation_type": commands.ActivityCancellationType.ABANDON,
        "do_not_eagerly_execute": lazily,
        "versioning_intent": commands.VersioningIntent.COMPATIBLE,
        "priority": PRIORITY.to_proto(),
        "summary": text("in short"),
        "details": None,
        "event_group_markers": (),
    }


def test_an_activity_with_little() -> None:
    command = only(
        lambda: workflow.start_activity("act", start_to_close_timeout=SECONDS[2]),
        commands.ScheduleActivity,
    )
    assert fields(command) == fields(
        commands.ScheduleActivity(
            site=command.site,
            seq=1,
            activity_id="1",
            activity_type="act",
            task_queue="queue",
            start_to_close_timeout_ns=2 * NS,
        )
    )


def local_with_all() -> Any:
    return workflow.start_local_activity(
        "act",
        args=[1, "two"],
        schedule_to_close_timeout=SECONDS[4],
        schedule_to_start_timeout=SECONDS[3],
        start_to_close_timeout=SECONDS[2],
        retry_policy=RETRY,
        local_retry_threshold=SECONDS[7],
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        activity_id="a-1",
        summary="in short",
    )


def test_a_local_activity_with_everything() -> None:
    command = only(local_with_all, commands.ScheduleLocalActivity, interceptor_classes=[Inbound])
    assert list(command.headers) == ["a", "b"]
    assert fields(command) == {
        "seq": 1,
        "activity_id": "a-1",
        "activity_type": "act",
        "attempt": 1,
        "original_schedule_time_ns": None,
        "headers": HEADERS,
        "arguments": payloads(1, "two"),
        "schedule_to_close_timeout_ns": 4 * NS,
        "schedule_to_start_timeout_ns": 3 * NS,
        "start_to_close_timeout_ns": 2 * NS,
        "retry_policy": retry(),
        "local_retry_threshold_ns": 7 * NS,
        "cancellation_type": commands.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        "include_arguments_in_marker": False,
        "summary": text("in short"),
        "details": None,
        "event_group_markers": (),
    }


def test_a_local_activity_with_little() -> None:
    command = only(
        lambda: workflow.start_local_activity("act", schedule_to_close_timeout=SECONDS[2]),
        commands.ScheduleLocalActivity,
    )
    assert fields(command) == fields(
        commands.ScheduleLocalActivity(
            site=command.site,
            seq=1,
            activity_id="1",
            activity_type="act",
            schedule_to_close_timeout_ns=2 * NS,
        )
    )


@activity.defn(
    task_queue="theirs",
    start_to_close_timeout=SECONDS[9],
    heartbeat_timeout=SECONDS[8],
    cancellation_type=int(workflow.ActivityCancellationType.ABANDON),
    summary="theirs",
)
async def with_options(number: int) -> int:
    return number


def test_options_of_the_decorator_fill_gaps_only() -> None:
    def main() -> Any:
        return workflow.start_activity(with_options, 1, task_queue="ours", summary="ours")

    command = only(main, commands.ScheduleActivity)
    assert (command.activity_type, command.task_queue) == ("with_options", "ours")
    assert command.start_to_close_timeout_ns == 9 * NS
    assert command.heartbeat_timeout_ns == 8 * NS
    assert command.cancellation_type is commands.ActivityCancellationType.ABANDON
    assert command.summary == text("ours")


# Children and the next run --------------------------------------------------------------------------


async def child_with_all() -> None:
    await workflow.start_child_workflow(
        "Child",
        args=[1, "two"],
        id="c",
        task_queue="other",
        cancellation_type=workflow.ChildWorkflowCancellationType.TRY_CANCEL,
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        execution_timeout=SECONDS[3],
        run_timeout=SECONDS[2],
        task_timeout=SECONDS[1],
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        retry_policy=RETRY,
        cron_schedule="* * * * *",
        memo={"note": "kept"},
        search_attributes=ATTRIBUTES,
        versioning_intent=workflow.VersioningIntent.DEFAULT,
        static_summary="in short",
        static_details="at length",
        priority=PRIORITY,
        versioning_override=OVERRIDE,
    )


def test_a_child_with_everything() -> None:
    command = only(child_with_all, commands.StartChildWorkflow, interceptor_classes=[Inbound])
    assert list(command.headers) == ["a", "b"]
    assert fields(command) == {
        "seq": 1,
        "namespace": "default",
        "workflow_id": "c",
        "workflow_type": "Child",
        "task_queue": "other",
        "input": payloads(1, "two"),
        "workflow_execution_timeout_ns": 3 * NS,
        "workflow_run_timeout_ns": 2 * NS,
        "workflow_task_timeout_ns": NS,
        "parent_close_policy": enums.PARENT_CLOSE_POLICY_ABANDON,
        "workflow_id_reuse_policy": enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
        "retry_policy": retry(),
        "cron_schedule": "* * * * *",
        "headers": HEADERS,
        "memo": {"note": text("kept")},
        "search_attributes": attributes(),
        "cancellation_type": commands.ChildWorkflowCancellationType.TRY_CANCEL,
        "versioning_intent": commands.VersioningIntent.DEFAULT,
        "priority": PRIORITY.to_proto(),
        "versioning_override": OVERRIDE.to_proto(),
        "summary": text("in short"),
        "details": text("at length"),
        "event_group_markers": (),
    }


def test_a_child_with_little() -> None:
    command = only(
        lambda: workflow.start_child_workflow("Child", id="c"), commands.StartChildWorkflow
    )
    assert fields(command) == fields(
        commands.StartChildWorkflow(
            site=command.site,
            seq=1,
            namespace="default",
            workflow_id="c",
            workflow_type="Child",
            task_queue="queue",
            parent_close_policy=enums.PARENT_CLOSE_POLICY_TERMINATE,
            workflow_id_reuse_policy=enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
            cancellation_type=commands.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    )


def next_with_all() -> None:
    workflow.continue_as_new(
        args=[1, "two"],
        workflow="Other",
        task_queue="other",
        run_timeout=SECONDS[3],
        task_timeout=SECONDS[2],
        backoff_start_interval=SECONDS[1],
        retry_policy=RETRY,
        memo={"note": "kept"},
        search_attributes=ATTRIBUTES,
        versioning_intent=workflow.VersioningIntent.COMPATIBLE,
        initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
    )


def test_a_next_run_with_everything() -> None:
    command = one(doing(next_with_all, interceptor_classes=[Inbound])[1], commands.ContinueAsNew)
    found = msgspec.structs.asdict(command)
    assert list(command.headers) == ["a", "b"]
    assert found.pop("site") is None
    behavior = workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
    assert found == {
        "workflow_type": "Other",
        "task_queue": "other",
        "arguments": payloads(1, "two"),
        "workflow_run_timeout_ns": 3 * NS,
        "workflow_task_timeout_ns": 2 * NS,
        "memo": {"note": text("kept")},
        "headers": HEADERS,
        "search_attributes": attributes(),
        "retry_policy": retry(),
        "versioning_intent": commands.VersioningIntent.COMPATIBLE,
        "initial_versioning_behavior": int(behavior),
        "backoff_start_interval_ns": NS,
        "summary": None,
        "details": None,
        "event_group_markers": (),
    }
    assert int(behavior)


def test_a_next_run_with_little() -> None:
    command = one(doing(lambda: workflow.continue_as_new())[1], commands.ContinueAsNew)  # noqa: PLW0108
    assert command == commands.ContinueAsNew()


# Signals --------------------------------------------------------------------------------------------


def test_a_signal_carries_its_headers() -> None:
    async def main() -> None:
        await workflow.get_external_workflow_handle("o").signal("s", 1)

    command = only(main, commands.SignalExternal, interceptor_classes=[Inbound])
    assert fields(command) == {
        "seq": 1,
        "namespace": "default",
        "workflow_id": "o",
        "run_id": "",
        "child_workflow_only": False,
        "signal_name": "s",
        "args": payloads(1),
        "headers": HEADERS,
        "summary": None,
        "details": None,
        "event_group_markers": (),
    }
    assert list(command.headers) == ["a", "b"]


def test_timers_upserts_and_patches_know_the_users_line() -> None:
    async def main() -> None:
        workflow.patched("p")
        workflow.upsert_memo({"a": 1})
        workflow.upsert_search_attributes([SearchAttributeKey.for_int("Int").value_set(1)])
        await workflow.sleep(2, summary="a nap")

    _, found = doing(main)
    kinds = ["SetPatchMarker", "ModifyProperties", "UpsertSearchAttributes", "StartTimer"]
    assert names(found) == kinds
    assert all(each.site is not None for each in found)
    patch, _, _, timer = found
    assert patch == commands.SetPatchMarker(site=patch.site, patch_id="p", deprecated=False)
    assert timer == commands.StartTimer(
        site=timer.site, seq=1, start_to_fire_timeout_ns=2 * NS, summary=text("a nap")
    )
