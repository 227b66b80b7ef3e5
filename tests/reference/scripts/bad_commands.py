"""Commands that the server refuses: the error, and what it does to the workflow task."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import enums
from tests.reference.commands import (
    Command,
    attributes,
    cancel_activity,
    cancel_timer,
    continue_as_new,
    fields,
    make,
    schedule_activity,
    seconds,
    start_timer,
)
from tests.reference.play import Case, script

LONG = "x" * 1001
A_RUN = "8b1f2f2e-0a2b-4c3d-9e4f-5a6b7c8d9e0f"


async def refused(case: Case, tries: dict[str, list[Command]]) -> None:
    """Play each list of commands in its own run."""
    for label, commands in tries.items():
        name = label.replace(" ", "-")
        await case.start(name, task_queue=case.queue_named(name))
        task = await case.ask("PollWorkflowTaskQueue", task_queue=case.queue_named(name))
        await case.call(
            "RespondWorkflowTaskCompleted",
            label=label,
            task_token=task.task_token,
            commands=commands,
        )
        await case.history(name)


@script
async def timers(case: Case) -> None:
    await refused(
        case,
        {
            "no id": [start_timer("")],
            "long id": [start_timer(LONG)],
            "no time": [make("START_TIMER", timer_id="t")],
            "negative time": [start_timer("t", -1)],
            "twice": [start_timer("t"), start_timer("t")],
            "cancel unknown": [cancel_timer("u")],
            "cancel no id": [cancel_timer("")],
            "good before bad": [start_timer("good"), start_timer("")],
        },
    )


@script
async def activities(case: Case) -> None:
    queue = case.queue

    def schedule(**options: Any) -> list[Command]:
        return [schedule_activity(queue, **options)]

    await refused(
        case,
        {
            "no id": schedule(activity_id=""),
            "long id": schedule(activity_id=LONG),
            "no type": schedule(activity_type={}),
            "long type": schedule(activity_type={"name": LONG}),
            "no queue": [schedule_activity({})],
            "long queue": [schedule_activity({"name": LONG})],
            "reserved queue": [schedule_activity({"name": "/_sys/queue"})],
            "no time-out": schedule(start_to_close_timeout=seconds(0)),
            "negative time-out": schedule(start_to_close_timeout=seconds(-1)),
            "negative heartbeat": schedule(heartbeat_timeout=seconds(-1)),
            "negative queue time-out": schedule(schedule_to_start_timeout=seconds(-1)),
            "negative total": schedule(schedule_to_close_timeout=seconds(-1)),
            "bad policy": schedule(retry_policy={"maximum_attempts": -1}),
            "small coefficient": schedule(
                retry_policy={"initial_interval": seconds(1), "backoff_coefficient": 0.5}
            ),
            "twice": [*schedule(), *schedule()],
            "cancel unknown": [cancel_activity(99)],
            "cancel nothing": [cancel_activity(0)],
        },
    )


@script
async def children(case: Case) -> None:
    def start(**options: Any) -> list[Command]:
        given: dict[str, Any] = {
            "workflow_id": case.id("child"),
            "workflow_type": {"name": "Child"},
            "task_queue": case.queue,
            **options,
        }
        return [make("START_CHILD_WORKFLOW_EXECUTION", **given)]

    await refused(
        case,
        {
            "no id": start(workflow_id=""),
            "long id": start(workflow_id=LONG),
            "no type": start(workflow_type={}),
            "long type": start(workflow_type={"name": LONG}),
            "long queue": start(task_queue={"name": LONG}),
            "negative time-out": start(workflow_run_timeout=seconds(-1)),
            "bad policy": start(retry_policy={"maximum_attempts": -1}),
            "bad cron": start(cron_schedule="not a schedule"),
            "unknown attribute": start(search_attributes=attributes(NoSuchAttribute='"x"')),
        },
    )


@script
async def externals(case: Case) -> None:
    def signal(**options: Any) -> list[Command]:
        given = {"execution": {"workflow_id": "target"}, "signal_name": "s", **options}
        return [make("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION", **given)]

    def cancel(**options: Any) -> list[Command]:
        given = {"workflow_id": "target", **options}
        return [make("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", **given)]

    await refused(
        case,
        {
            "signal no one": signal(execution={}),
            "signal no name": signal(signal_name=""),
            "signal no id": signal(execution={"run_id": A_RUN}),
            "signal bad run": signal(execution={"workflow_id": "target", "run_id": "x"}),
            "signal long id": signal(execution={"workflow_id": LONG}),
            "cancel no one": cancel(workflow_id=""),
            "cancel bad run": cancel(run_id="x"),
            "cancel long id": cancel(workflow_id=LONG),
        },
    )


@script
async def ends(case: Case) -> None:
    await refused(
        case,
        {
            "fail without failure": [make("FAIL_WORKFLOW_EXECUTION")],
            "continue long type": [continue_as_new(case.queue, workflow_type={"name": LONG})],
            "continue long queue": [continue_as_new({"name": LONG})],
            "continue negative time-out": [
                continue_as_new(case.queue, workflow_run_timeout=seconds(-1))
            ],
            "continue negative back-off": [
                continue_as_new(case.queue, backoff_start_interval=seconds(-1))
            ],
            "continue bad policy": [
                continue_as_new(case.queue, retry_policy={"maximum_attempts": -1})
            ],
            "continue unknown attribute": [
                continue_as_new(case.queue, search_attributes=attributes(NoSuchAttribute='"x"'))
            ],
        },
    )


@script
async def others(case: Case) -> None:
    await refused(
        case,
        {
            "marker no name": [make("RECORD_MARKER", details={})],
            "marker long name": [make("RECORD_MARKER", marker_name=LONG)],
            "upsert nothing": [make("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES")],
            "upsert unknown": [
                make(
                    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes=attributes(Nothing='"x"')
                )
            ],
            "upsert system": [
                make("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes=attributes(RunId='"x"'))
            ],
            "upsert wrong value": [
                make(
                    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
                    search_attributes=attributes(CustomInt='"x"'),
                )
            ],
            "memo nothing": [make("MODIFY_WORKFLOW_PROPERTIES")],
            "memo empty": [make("MODIFY_WORKFLOW_PROPERTIES", upserted_memo=fields())],
            "no attributes": [Command(command_type=enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)],
            "no type": [Command()],
            "unknown type": [Command(command_type=99)],  # pyright: ignore[reportArgumentType]
            "message": [make("PROTOCOL_MESSAGE", message_id="nothing")],
            "message no id": [make("PROTOCOL_MESSAGE")],
        },
    )
