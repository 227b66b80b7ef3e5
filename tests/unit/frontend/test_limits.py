"""Limits of what requests and commands may hold: exactly the limit is accepted, one byte more is refused (S-45)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

from perdure.server.node.main import limits_of
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, enums
from perdure.wire.errors import InvalidArgument, NotFound, RpcError
from tests.harness import builders
from tests.unit.frontend.conftest import QUEUE, Caller, virtual_caller
from tests.unit.frontend.test_validation import GOOD, RUN
from tests.unit.server.virtual import on_virtual_time

Fields = dict[str, Any]
FORCE_CLOSE = enums.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
STARTS = ("StartWorkflowExecution", "SignalWithStartWorkflowExecution")
POLLS = ("PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue")
ENDS = ("Completed", "Failed", "Canceled")
Row = tuple[str, str, str]


def text_of(size_bytes: int) -> str:
    """A text with fewer characters than bytes."""
    text = "é" * (size_bytes // 2)
    return text + "x" * (size_bytes - len(text.encode()))


OF_STARTS = {
    "workflow_type.name": "WorkflowType length exceeds limit",
    "task_queue.name": "TaskQueue length exceeds limit",
    "request_id": "RequestId length exceeds limit",
    "namespace": "Namespace length exceeds limit",
}
OF_POLLS = {
    "task_queue.name": "TaskQueue length exceeds limit",
    "task_queue.normal_name": "TaskQueue length exceeds limit",
    "identity": "Identity length exceeds limit",
}
OF_ANSWERS = {
    "identity": "Identity length exceeds limit",
    "activity_id": "ActivityId length exceeds limit",
}
IDS: list[Row] = [
    *((name, path, said) for name in STARTS for path, said in OF_STARTS.items()),
    *((name, path, said) for name in POLLS for path, said in OF_POLLS.items()),
    *(
        (f"RespondActivityTask{end}ById", path, said)
        for end in ENDS
        for path, said in OF_ANSWERS.items()
    ),
    ("SignalWorkflowExecution", "signal_name", "SignalName length exceeds limit"),
    ("SignalWithStartWorkflowExecution", "signal_name", "SignalName length exceeds limit"),
    ("SignalWorkflowExecution", "request_id", "RequestId length exceeds limit"),
    ("DescribeTaskQueue", "task_queue.name", "TaskQueue length exceeds limit"),
    ("CountWorkflowExecutions", "namespace", "Namespace length exceeds limit"),
    ("ListSearchAttributes", "namespace", "Namespace length exceeds limit"),
    ("UpdateWorkflowExecution", "request.meta.update_id", "UpdateId length exceeds limit"),
    ("PollWorkflowExecutionUpdate", "update_ref.update_id", "UpdateId length exceeds limit"),
]


def with_value(name: str, path: str, value: Any) -> Fields:
    """The fields of a good request, with a value at a path like `task_queue.name`."""
    fields = copy.deepcopy(GOOD.get(name, {}))
    target = fields
    *outer, last = path.split(".")
    for key in outer:
        target = target.setdefault(key, {})
    target[last] = value
    return fields


async def refusal(caller: Caller, name: str, fields: Fields) -> str:
    """The message with which a request is refused; empty when it is accepted."""
    try:
        await caller.call(name, **(GOOD.get(name, {}) | fields))
    except InvalidArgument as error:
        return error.message
    except RpcError:
        return ""
    return ""


@on_virtual_time
@pytest.mark.parametrize(("name", "path", "message"), IDS)
async def test_rule_45_lengths_are_in_bytes(name: str, path: str, message: str) -> None:
    async with virtual_caller() as caller:
        assert message not in await refusal(caller, name, with_value(name, path, text_of(1_000)))
        assert message in await refusal(caller, name, with_value(name, path, text_of(1_001)))


@on_virtual_time
@pytest.mark.parametrize("name", STARTS)
async def test_rule_45_workflow_ids_are_counted_in_characters(name: str) -> None:
    async with virtual_caller() as caller:
        for letter in ("x", "é", "漢", "\N{GRINNING FACE}"):
            assert (
                await refusal(caller, name, with_value(name, "workflow_id", letter * 1_000)) == ""
            )
            too_long = with_value(name, "workflow_id", letter * 1_001)
            assert "WorkflowId length exceeds limit" in await refusal(caller, name, too_long)


async def test_rule_45_what_the_reference_does_not_limit(caller: Caller) -> None:
    long = "x" * 5_000
    await caller.start(identity=long)
    for name, fields in (
        ("SignalWorkflowExecution", {"identity": long}),
        ("RequestCancelWorkflowExecution", {"identity": long, "reason": long, "request_id": long}),
        ("RecordActivityTaskHeartbeatById", {"identity": long}),
        ("ShutdownWorker", {"identity": long, "reason": long, "sticky_task_queue": long}),
        ("TerminateWorkflowExecution", {"identity": long, "reason": long}),
    ):
        assert await refusal(caller, name, fields) == "", name
    with pytest.raises(NotFound):
        await caller.call(
            "QueryWorkflow", execution={"workflow_id": "z"}, query={"query_type": long}
        )


@pytest.mark.parametrize("end", ["Completed", "Failed"])
async def test_rule_45_answers_to_workflow_tasks(end: str, caller: Caller) -> None:
    await caller.start()
    task = await caller.poll()
    name = f"RespondWorkflowTask{end}"
    with pytest.raises(InvalidArgument, match="Identity length exceeds limit"):
        await caller.call(name, task_token=task.task_token, identity=text_of(1_001))
    await caller.call(name, task_token=task.task_token, identity=text_of(1_000))


@pytest.mark.parametrize("end", ENDS)
async def test_rule_45_answers_to_activity_tasks(end: str, caller: Caller) -> None:
    await caller.start()
    await caller.complete(await caller.poll(), schedule("a"))
    task = await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE})
    given = {"task_token": task.task_token}
    await caller.call("RecordActivityTaskHeartbeat", identity=text_of(1_001), **given)
    name = f"RespondActivityTask{end}"
    assert "Identity length" in await refusal(caller, name, {"identity": text_of(1_001), **given})
    assert "Identity length" not in await refusal(
        caller, name, {"identity": text_of(1_000), **given}
    )


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────


def make(kind: str, **fields: Any) -> commands_api.Command:
    return builders.command(kind, **fields)


def schedule(activity_id: str, **fields: Any) -> commands_api.Command:
    fields.setdefault("activity_type", {"name": "greet"})
    queue = fields.pop("queue", QUEUE)
    return builders.schedule_activity(activity_id, queue, timeout_s=60, **fields)


def child(**fields: Any) -> commands_api.Command:
    given: Fields = {
        "workflow_id": "c",
        "workflow_type": {"name": "T"},
        "task_queue": {"name": QUEUE},
    }
    return make("START_CHILD_WORKFLOW_EXECUTION", **{**given, **fields})


def continue_as_new(**fields: Any) -> commands_api.Command:
    return make(
        "CONTINUE_AS_NEW_WORKFLOW_EXECUTION",
        **{"workflow_type": {"name": "T"}, "task_queue": {"name": QUEUE}, **fields},
    )


def signal(**fields: Any) -> commands_api.Command:
    given: Fields = {"execution": {"workflow_id": "z"}, "signal_name": "s"}
    return make("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION", **{**given, **fields})


async def answer(caller: Caller, *commands: commands_api.Command) -> str:
    """The message with which commands are refused; empty when they are accepted."""
    await caller.start()
    try:
        await caller.complete(await caller.poll(), *commands)
    except InvalidArgument as error:
        return error.message
    return ""


COMMAND_IDS: dict[str, Callable[[str], commands_api.Command]] = {
    "timer id": lambda text: builders.start_timer(text, 1),
    "activity id": schedule,
    "activity type": lambda text: schedule("a", activity_type={"name": text}),
    "activity queue": lambda text: schedule("a", queue=text),
    "child type": lambda text: child(workflow_type={"name": text}),
    "child queue": lambda text: child(task_queue={"name": text}),
    "next type": lambda text: continue_as_new(workflow_type={"name": text}),
    "next queue": lambda text: continue_as_new(task_queue={"name": text}),
    "signal name": lambda text: signal(signal_name=text),
    "marker": lambda text: make("RECORD_MARKER", marker_name=text),
}


WORKFLOW_IDS: dict[str, Callable[[str], commands_api.Command]] = {
    "child": lambda text: child(workflow_id=text),
    "signalled": lambda text: signal(execution={"workflow_id": text}),
    "cancelled": lambda text: make("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", workflow_id=text),
}


@pytest.mark.parametrize("letter", ["x", "é", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("name", WORKFLOW_IDS)
async def test_rule_45_workflow_ids_in_commands(name: str, letter: str, caller: Caller) -> None:
    refused = await answer(caller, WORKFLOW_IDS[name](letter * 1_001))
    assert "workflow id has 1001 characters; the limit is 1000." in refused
    await caller.complete(await caller.poll(), WORKFLOW_IDS[name](letter * 1_000))


@pytest.mark.parametrize("name", COMMAND_IDS)
async def test_rule_45_lengths_in_commands(name: str, caller: Caller) -> None:
    refused = await answer(caller, COMMAND_IDS[name](text_of(1_001)))
    assert "has 1001 bytes; the limit is 1000." in refused
    await caller.complete(await caller.poll(), COMMAND_IDS[name](text_of(1_000)))


# ── names of task queues ─────────────────────────────────────────────────────────────────────────────

PREFIX = "task queue name cannot start with reserved prefix /_sys/"


@on_virtual_time
@pytest.mark.parametrize("name", [*STARTS, *POLLS])
async def test_names_of_partitions_are_reserved(name: str) -> None:
    async with virtual_caller() as caller:
        assert await refusal(caller, name, {"task_queue": {"name": "/_sys/q"}}) == PREFIX
        assert await refusal(caller, name, {"task_queue": {"name": "/_sy"}}) == ""
        await caller.call("DescribeTaskQueue", task_queue={"name": "/_sys/q/1"})


@pytest.mark.parametrize("name", ["activity queue", "child queue", "next queue"])
async def test_commands_cannot_name_partitions(name: str, caller: Caller) -> None:
    assert PREFIX in await answer(caller, COMMAND_IDS[name]("/_sys/q"))


# ── priorities, links, versions of workers ───────────────────────────────────────────────────────────

PRIORITIES: list[tuple[Fields, str]] = [
    ({"priority_key": -1}, "priority key can't be negative"),
    ({"priority_key": 2**31 - 1}, ""),
    ({"fairness_key": text_of(64)}, ""),
    ({"fairness_key": text_of(65)}, "fairness key length exceeds limit"),
    ({"fairness_weight": 0.5}, ""),
    ({"fairness_weight": -1}, "must be greater than zero"),
    ({"fairness_weight": -math.inf}, "must be greater than zero"),
    ({"fairness_weight": math.inf}, "must be a finite number"),
    ({"fairness_weight": math.nan}, "must be a finite number"),
]


def same(said: str, expected: str) -> bool:
    return expected in said if expected else not said


@on_virtual_time
@pytest.mark.parametrize(("priority", "message"), PRIORITIES)
async def test_rule_46_priorities(priority: Fields, message: str) -> None:
    for name in STARTS:
        async with virtual_caller() as caller:
            said = await refusal(caller, name, with_value(name, "priority", priority))
            assert same(said, message), name
    for make_command in (
        lambda: schedule("a", priority=priority),
        lambda: child(priority=priority),
    ):
        async with virtual_caller() as caller:
            assert same(await answer(caller, make_command()), message)


def link(**fields: Any) -> Fields:
    event = {"namespace": "default", "workflow_id": "w", "run_id": "r", **fields}
    return {"workflow_event": event}


OTHER_LINKS: list[Fields] = [
    {"batch_job": {"job_id": "j"}},
    {"activity": {}},
    link(event_ref={"event_type": 1}),
]
LINKS: list[tuple[list[Fields], str]] = [
    ([link()] * 10, ""),
    ([link()] * 11, "cannot attach more than 10 links per request, got 11"),
    (OTHER_LINKS, ""),
    ([link(workflow_id="x" * 3_900)], ""),
    ([link(), link(workflow_id="x" * 4_000)], "link exceeds allowed size of 4000, got 40"),
    ([{}], "unsupported link variant"),
    ([{"batch_job": {}}], "batch job link must not have an empty job ID"),
    ([link(namespace="")], "must not have an empty namespace field"),
    ([link(workflow_id="")], "must not have an empty workflow ID field"),
    ([link(run_id="")], "must not have an empty run ID field"),
    ([link(event_ref={"event_id": 1})], "cannot have an unspecified event type"),
]
LINKED = (
    *STARTS,
    "SignalWorkflowExecution",
    "RequestCancelWorkflowExecution",
    "TerminateWorkflowExecution",
)


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize(("links", "message"), LINKS)
async def test_rule_46_links(links: list[Fields], message: str, name: str, caller: Caller) -> None:
    if name not in STARTS:
        await caller.start()
    assert same(await refusal(caller, name, with_value(name, "links", links)), message)


def options(name: str, build_id: str, mode: int = 2) -> Fields:
    return {"deployment_name": name, "build_id": build_id, "worker_versioning_mode": mode}


TOGETHER = "Deployment name and build id must be set together."
VERSIONS: list[tuple[str, Any, str]] = [
    ("build_id", text_of(255), ""),
    ("build_id", text_of(256), "Build ID exceeds configured limit.workerBuildIdSize"),
    ("options", options(text_of(480), text_of(480)), ""),
    ("options", options(text_of(481), "b"), "size of WorkerDeploymentName larger than"),
    ("options", options("d", text_of(481)), "size of BuildID larger than"),
    ("options", options("", "b"), TOGETHER),
    ("options", options("d", ""), TOGETHER),
    ("options", options("d.e", "b"), "worker deployment name cannot contain '.'"),
    ("options", options("d:e", "b"), "worker deployment name cannot contain ':'"),
    ("options", options("__d", "b"), "WorkerDeploymentName cannot start with '__'"),
    ("options", options("d", "b.c:d"), ""),
    ("options", options("d.e", text_of(481), 1), ""),
]


@on_virtual_time
@pytest.mark.parametrize(("field", "value", "message"), VERSIONS)
async def test_rule_46_versions_of_workers(field: str, value: Any, message: str) -> None:
    async with virtual_caller() as caller:
        for name in POLLS:
            path = (
                "deployment_options"
                if field == "options"
                else "worker_version_capabilities.build_id"
            )
            assert same(await refusal(caller, name, with_value(name, path, value)), message), name
        await caller.start("answered")
        task = await caller.poll()
        given = (
            {"deployment_options": value}
            if field == "options"
            else {"worker_version_stamp": {"build_id": value}}
        )
        name = "RespondWorkflowTaskCompleted"
        assert same(await refusal(caller, name, {"task_token": task.task_token, **given}), message)


@on_virtual_time
@pytest.mark.parametrize(
    ("key", "commands", "message"),
    [
        ("limit.numPendingActivities.error", [schedule("a"), schedule("b")], "activities"),
        (
            "limit.numPendingChildExecutions.error",
            [child(), child(workflow_id="d")],
            "child workflow executions",
        ),
        ("limit.numPendingSignals.error", [signal(), signal()], "signals to external workflows"),
        (
            "limit.numPendingCancelRequests.error",
            [make("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", workflow_id="z")] * 2,
            "requests to cancel external workflows",
        ),
    ],
)
async def test_rule_46_numbers_of_what_is_pending(
    key: str, commands: list[commands_api.Command], message: str
) -> None:
    async with virtual_caller(limits_of({key: 1})) as caller:
        said = await answer(caller, *commands)
        assert (
            f"the number of pending {message}, 1, has reached the per-workflow limit of 1" in said
        )
        await caller.complete(await caller.poll(), commands[0])


# ── sizes of commands ────────────────────────────────────────────────────────────────────────────────


def payload(size_bytes: int) -> common.Payload:
    return common.Payload(data=bytes(size_bytes))


def header(size_bytes: int) -> Fields:
    return {"fields": {"h": payload(size_bytes)}}


def summarised(command: commands_api.Command, size_bytes: int) -> commands_api.Command:
    command.user_metadata.summary.CopyFrom(payload(size_bytes))
    return command


LARGE: dict[str, Callable[[int], commands_api.Command]] = {
    "activity header": lambda n: schedule("a", header=header(n)),
    "activity summary": lambda n: summarised(schedule("a"), n),
    "child header": lambda n: child(header=header(n)),
    "next header": lambda n: continue_as_new(header=header(n)),
    "marker failure": lambda n: make(
        "RECORD_MARKER", marker_name="m", failure={"message": "x" * n}
    ),
    "reason": lambda n: make(
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", workflow_id="z", reason="x" * n
    ),
    "timer summary": lambda n: summarised(builders.start_timer("t", 1), n),
}


@on_virtual_time
@pytest.mark.parametrize("name", LARGE)
async def test_rule_47_a_command_that_adds_too_much_ends_its_run(name: str) -> None:
    limits = limits_of({"system.transactionSizeLimit": 2_000})
    async with virtual_caller(limits) as caller:
        said = await answer(caller, LARGE[name](2_000))
        assert said.startswith("ForceCloseCommand: Transaction size exceeds limit. ")
        assert "the limit is 2000." in said
        failed, ended = (await caller.history()).history.events[-2:]
        assert failed.workflow_task_failed_event_attributes.cause == FORCE_CLOSE
        assert ended.workflow_execution_terminated_event_attributes.reason == said
    async with virtual_caller(limits) as caller:
        # Each command has the whole limit.
        both = [LARGE["marker failure"](1_500), LARGE[name](1_500)]
        assert await answer(caller, *both) == ""


async def test_arguments_of_queries_have_the_limit_of_payloads(caller: Caller) -> None:
    await caller.start()
    large = {"payloads": [payload(2 * 1024 * 1024)]}
    said = await refusal(
        caller, "QueryWorkflow", {"query": {"query_type": "q", "query_args": large}}
    )
    assert said.startswith("Blob data size exceeds limit. ")


@pytest.mark.parametrize(
    ("over_bytes", "said"), [(0, "x" * 512), (1, "Failure exceeds size limit.")]
)
async def test_rule_47_a_large_failure_of_a_task_is_cut(
    over_bytes: int, said: str, caller: Caller
) -> None:
    # The message is the only field: a tag and a length, of four bytes.
    text = "x" * (2 * 1024 * 1024 - 4 + over_bytes)
    await caller.start()
    task = await caller.poll()
    await caller.call(
        "RespondWorkflowTaskFailed", task_token=task.task_token, failure={"message": text}
    )
    newest = (await caller.call("GetWorkflowExecutionHistoryReverse", execution=RUN)).history.events
    kept = newest[0].workflow_task_failed_event_attributes.failure
    assert kept.message[:512] == said
    assert kept.HasField("cause") == bool(over_bytes)
    assert kept.cause.message == ("x" * 512 * 1024 if over_bytes else "")


async def test_what_describes_a_namespace_has_a_limit(caller: Caller) -> None:
    half = "x" * (1024 * 1024)
    await caller.call("RegisterNamespace", namespace="n", description=half)
    update = {"namespace": "n", "update_info": {"data": {"a": half}}}
    assert "description, owner and data have" in await refusal(caller, "UpdateNamespace", update)
    kept = await caller.call("DescribeNamespace", namespace="n")
    assert not kept.namespace_info.data
    large = {"namespace": "m", "data": {"a": half, "b": half}}
    assert "description, owner and data have" in await refusal(caller, "RegisterNamespace", large)
