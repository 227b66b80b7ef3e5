"""How much requests and commands may hold. At the limit they are taken; one byte more, and they are refused."""

from __future__ import annotations

from typing import Any

from tests.reference.commands import Command, continue_as_new, make, schedule_activity, start_timer
from tests.reference.play import Case, script
from tests.reference.scripts.bad_commands import refused

FITS, OVER = "é" * 500, "é" * 500 + "x"
"""The limit is one of bytes: both have fewer than a thousand characters."""
RUN = {"workflow_id": "no-such-workflow"}
STARTS = ("StartWorkflowExecution", "SignalWithStartWorkflowExecution")
POLLS = ("PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue")
ENDS = ("Completed", "Failed", "Canceled")


async def starts(case: Case, rows: dict[str, dict[str, Any]]) -> None:
    """Play each row as a start and as a signal with start, in a workflow of its own."""
    for method in STARTS:
        signal: dict[str, Any] = {"signal_name": "signal"} if method == STARTS[1] else {}
        for number, (label, given) in enumerate(rows.items()):
            request: dict[str, Any] = {
                **signal,
                **case.start_fields(f"{method[:1]}{number}{method[6]}"),
                **given,
            }
            await case.call(method, label=label, **request)


@script
async def lengths_in_starts(case: Case) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for size, text in (("fits", FITS), ("over", OVER)):
        rows |= {
            f"id {size}": {"workflow_id": OVER if size == "over" else case.id("fits")},
            f"type {size}": {"workflow_type": {"name": text}},
            f"queue {size}": {"task_queue": {"name": text}},
            f"request {size}": {"request_id": text},
            f"identity {size}": {"identity": text},
            f"namespace {size}": {"namespace": text},
        }
    rows["partition"] = {"task_queue": {"name": "/_sys/queue"}}
    await starts(case, rows)


@script
async def lengths_in_requests(case: Case) -> None:
    await case.start()
    run = {"workflow_execution": case.execution()}
    by_id = {"workflow_id": case.id(), "activity_id": "a"}
    for size, text in (("fits", FITS), ("over", OVER)):
        rows: list[tuple[str, str, dict[str, Any]]] = [
            ("SignalWorkflowExecution", "name", {**run, "signal_name": text}),
            ("SignalWorkflowExecution", "request", {**run, "signal_name": "s", "request_id": text}),
            ("SignalWorkflowExecution", "identity", {**run, "signal_name": "s", "identity": text}),
            ("RequestCancelWorkflowExecution", "request", {**run, "request_id": text}),
            ("RequestCancelWorkflowExecution", "reason", {**run, "reason": text}),
            ("ListWorkflowExecutions", "namespace", {"namespace": text}),
            ("ShutdownWorker", "identity", {"sticky_task_queue": "q", "identity": text}),
        ]
        rows += [
            (f"RespondActivityTask{end}ById", "identity", {**by_id, "identity": text})
            for end in ENDS
        ]
        rows += [("RecordActivityTaskHeartbeatById", "identity", {**by_id, "identity": text})]
        for method, label, given in rows:
            await case.call(method, label=f"{label} {size}", **given)
    await case.terminate(reason=OVER, identity=OVER)


@script
async def lengths_in_polls(case: Case) -> None:
    for method in POLLS:
        rows: dict[str, dict[str, Any]] = {
            "identity": {"task_queue": case.queue, "identity": OVER},
            "queue": {"task_queue": {"name": OVER}},
            "normal queue": {"task_queue": {"name": "q", "kind": 2, "normal_name": OVER}},
            "partition": {"task_queue": {"name": "/_sys/queue"}},
        }
        for label, given in rows.items():
            await case.call(method, label=label, **given)


@script
async def lengths_in_answers(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.fail(task, identity=OVER)
    await case.complete(task, identity=OVER)
    await case.complete(task, schedule_activity(case.queue), identity=FITS)
    task = await case.poll_activity()
    await case.heartbeat(task, identity=OVER)
    await case.fail_activity(task, identity=OVER)
    await case.complete_activity(task, identity=OVER)
    await case.complete_activity(task, identity=FITS)


@script
async def lengths_in_commands(case: Case) -> None:
    def child(**fields: Any) -> Command:
        given = {"workflow_id": "c", "workflow_type": {"name": "T"}, "task_queue": case.queue}
        return make("START_CHILD_WORKFLOW_EXECUTION", **{**given, **fields})

    def signal(**fields: Any) -> Command:
        given = {"execution": {"workflow_id": "z"}, "signal_name": "s"}
        return make("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION", **{**given, **fields})

    tries: dict[str, list[Command]] = {
        "timer": [start_timer(OVER)],
        "activity": [schedule_activity(case.queue, OVER)],
        "activity type": [schedule_activity(case.queue, activity_type={"name": OVER})],
        "activity queue": [schedule_activity({"name": OVER})],
        "child": [child(workflow_id=OVER)],
        "child type": [child(workflow_type={"name": OVER})],
        "child queue": [child(task_queue={"name": OVER})],
        "next type": [continue_as_new(case.queue, workflow_type={"name": OVER})],
        "next queue": [continue_as_new({"name": OVER})],
        "signal": [signal(execution={"workflow_id": OVER})],
        "cancel": [make("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", workflow_id=OVER)],
        "marker": [make("RECORD_MARKER", marker_name=OVER)],
        "activity partition": [schedule_activity({"name": "/_sys/queue"})],
        "child partition": [child(task_queue={"name": "/_sys/queue"})],
        "next partition": [continue_as_new({"name": "/_sys/queue"})],
    }
    await refused(case, tries)
