"""How much requests and commands may hold. At the limit they are taken; one byte more, and they are refused."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.reference.commands import (
    Command,
    continue_as_new,
    make,
    payload,
    payloads,
    schedule_activity,
    start_timer,
)
from tests.reference.play import Case, script
from tests.reference.scripts.bad_commands import A_RUN, refused

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
        "child": [child(workflow_id="x" * 1001)],
        "child type": [child(workflow_type={"name": OVER})],
        "child queue": [child(task_queue={"name": OVER})],
        "next type": [continue_as_new(case.queue, workflow_type={"name": OVER})],
        "next queue": [continue_as_new({"name": OVER})],
        "signal": [signal(execution={"workflow_id": "x" * 1001})],
        "cancel": [make("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", workflow_id="x" * 1001)],
        "marker": [make("RECORD_MARKER", marker_name=OVER)],
        "activity partition": [schedule_activity({"name": "/_sys/queue"})],
        "child partition": [child(task_queue={"name": "/_sys/queue"})],
        "next partition": [continue_as_new({"name": "/_sys/queue"})],
    }
    await refused(case, tries)


PRIORITIES: dict[str, dict[str, Any]] = {
    "negative key": {"priority_key": -1},
    "large key": {"priority_key": 1_000},
    "fairness key": {"fairness_key": "x" * 64},
    "long fairness key": {"fairness_key": "é" * 32 + "x"},
    "negative weight": {"fairness_weight": -1},
    "not a number": {"fairness_weight": float("nan")},
}


@script
async def priorities_of_starts(case: Case) -> None:
    await starts(case, {label: {"priority": given} for label, given in PRIORITIES.items()})


@script
async def priorities_in_commands(case: Case) -> None:
    def child(**fields: Any) -> Command:
        queue = case.queue_named("no-worker")
        given = {
            "workflow_id": case.id("child"),
            "workflow_type": {"name": "T"},
            "task_queue": queue,
        }
        return make("START_CHILD_WORKFLOW_EXECUTION", **{**given, **fields})

    bad = {
        label: PRIORITIES[label]
        for label in ("negative key", "long fairness key", "negative weight")
    }
    await refused(
        case,
        {
            f"{kind} {label}": [make_one(priority=given)]
            for kind, make_one in (
                ("activity", partial(schedule_activity, case.queue)),
                ("child", child),
            )
            for label, given in bad.items()
        },
    )


def link(**fields: Any) -> dict[str, Any]:
    event = {"namespace": "default", "workflow_id": "w", "run_id": A_RUN, **fields}
    return {"workflow_event": event}


@script
async def links(case: Case) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "ten": [link()] * 10,
        "eleven": [link()] * 11,
        "large": [link(workflow_id="x" * 4_000)],
        "none": [{}],
        "no job": [{"batch_job": {}}],
        "no namespace": [link(namespace="")],
        "no workflow": [link(workflow_id="")],
        "no run": [link(run_id="")],
        "no type": [link(event_ref={"event_id": 1})],
    }
    await starts(case, {label: {"links": given} for label, given in rows.items()})
    await case.start()
    run: dict[str, Any] = {"workflow_execution": case.execution()}
    for label, given in list(rows.items())[1:5]:
        await case.call("SignalWorkflowExecution", label=label, **run, signal_name="s", links=given)
        await case.call("RequestCancelWorkflowExecution", label=label, **run, links=given)
        await case.call("TerminateWorkflowExecution", label=label, **run, links=given)


@script
async def versions_of_workers(case: Case) -> None:
    bad: list[tuple[str, str, str]] = [
        ("no name", "", "b"), ("no build", "d", ""), ("long name", "x" * 481, "b"), ("long build", "d", "x" * 481),
        ("dot", "d.e", "b"), ("colon", "d:e", "b"), ("underscores", "__d", "b"),
    ]  # fmt: skip
    for method in POLLS:
        long = {"build_id": "x" * 256}
        await case.call(
            method, label="build", task_queue=case.queue, worker_version_capabilities=long
        )
        for label, name, build_id in bad:
            given = {"deployment_name": name, "build_id": build_id, "worker_versioning_mode": 2}
            await case.call(method, label=label, task_queue=case.queue, deployment_options=given)
    await case.start()
    task = await case.poll()
    await case.complete(task, worker_version_stamp={"build_id": "x" * 256})
    for _, name, build_id in bad:
        given = {"deployment_name": name, "build_id": build_id, "worker_versioning_mode": 2}
        await case.complete(task, deployment_options=given)


LARGE = 2_100_000


@script
async def large_values(case: Case) -> None:
    await case.start()
    large = payloads("x" * LARGE)
    query = {"query_type": "q", "query_args": large}
    await case.call("QueryWorkflow", execution=case.execution(), query=query)
    await case.step(schedule_activity(case.queue, header={"fields": {"h": payload("x" * LARGE)}}))
    await case.describe()
