"""`perdure workflow start | execute | result`.

As with the reference command, starting a workflow id that is already running attaches to that run, unless
`--fail-existing` is given; a note on stderr says so.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import click
import msgspec

from perdure.cli import output
from perdure.cli.exits import CommandError, Exit
from perdure.cli.options import (
    DURATION,
    ConnectionOptions,
    OutputFormat,
    Target,
    command,
    with_connection,
    with_input,
    with_output,
    with_target,
)
from perdure.cli.output import echo
from perdure.cli.session import run_with_client
from perdure.rendering import payloads

if TYPE_CHECKING:
    from perdure.client import Client, WorkflowHandle
    from perdure.wire.api import common

P = ParamSpec("P")
T = TypeVar("T")

REUSE = {
    "AllowDuplicate": "ALLOW_DUPLICATE",
    "AllowDuplicateFailedOnly": "ALLOW_DUPLICATE_FAILED_ONLY",
    "RejectDuplicate": "REJECT_DUPLICATE",
    "TerminateIfRunning": "TERMINATE_IF_RUNNING",
}
CONFLICT = {
    "Fail": "FAIL",
    "UseExisting": "USE_EXISTING",
    "TerminateExisting": "TERMINATE_EXISTING",
}


class Started(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The output of `start`, with the field names of the reference command's JSON."""

    workflow_id: str
    run_id: str
    type: str
    namespace: str
    task_queue: str


class StartFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of `start` and `execute`; durations in nanoseconds."""

    workflow_id: str | None
    type: str
    task_queue: str
    run_timeout: int | None
    execution_timeout: int | None
    task_timeout: int | None
    start_delay: int | None
    cron: str | None
    id_reuse_policy: str | None
    id_conflict_policy: str | None
    fail_existing: bool
    memo: tuple[str, ...]
    search_attribute: tuple[str, ...]
    static_summary: str | None
    static_details: str | None
    priority_key: int | None
    fairness_key: str | None
    fairness_weight: float | None


def _with_start_flags(function: Callable[..., T]) -> Callable[..., T]:
    """The command gets a `StartFlags` as its first argument."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        values = {name: kwargs.pop(name) for name in StartFlags.__struct_fields__}
        return function(StartFlags(**values), *args, **kwargs)

    decorated: Callable[..., T] = wrapper
    for option in reversed(
        [
            click.option("--type", "--name", "type", required=True, help="Workflow type."),
            click.option("--task-queue", "-t", required=True, help="Task queue of its workers."),
            click.option("--workflow-id", "-w", help="Workflow id.  [default: a new unique one]"),
            click.option("--run-timeout", type=DURATION, help="Limit for one run."),
            click.option(
                "--execution-timeout", type=DURATION, help="Limit for all runs, retries included."
            ),
            click.option(
                "--task-timeout", type=DURATION, help="Limit for one workflow task.  [default: 10s]"
            ),
            click.option(
                "--start-delay", type=DURATION, help="Delay before the first workflow task."
            ),
            click.option("--cron", help="Cron schedule."),
            click.option(
                "--id-reuse-policy",
                type=click.Choice(list(REUSE)),
                help="If a closed workflow has the id.",
            ),
            click.option(
                "--id-conflict-policy",
                type=click.Choice(list(CONFLICT)),
                help="If an open workflow has the id.",
            ),
            click.option(
                "--fail-existing",
                is_flag=True,
                help="Fail if the workflow is open, instead of attaching to it.",
            ),
            click.option("--memo", multiple=True, help="KEY=JSON; repeatable."),
            click.option("--search-attribute", multiple=True, help="KEY=JSON; repeatable."),
            click.option("--static-summary", help="One line to show beside the workflow."),
            click.option("--static-details", help="A text to show beside the workflow."),
            click.option("--priority-key", type=click.IntRange(1, 5), help="1 is the most urgent."),
            click.option("--fairness-key", help="Tasks with different keys share the capacity."),
            click.option("--fairness-weight", type=float, help="Weight of the fairness key."),
        ]
    ):
        decorated = option(decorated)
    return decorated


@command("start")
@_with_start_flags
@with_input
@with_connection
@with_output
def start(
    connection: ConnectionOptions,
    arguments: list[common.Payload],
    flags: StartFlags,
    output: OutputFormat,
) -> None:
    """Start a workflow and return at once.

    \b
    perdure workflow start --type Greeting --task-queue greetings --workflow-id greeting-1 --input '"World"'
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    optional = _start_arguments(
        flags
    )  # before the connection, as what is wrong with them needs no server
    started, _ = run_with_client(
        connection, lambda client: _start(client, flags, arguments, optional)
    )
    show_started(started, output)


@command("execute")
@_with_start_flags
@with_input
@with_connection
@with_output
def execute(
    connection: ConnectionOptions,
    arguments: list[common.Payload],
    flags: StartFlags,
    output: OutputFormat,
) -> None:
    """Start a workflow and wait for its result. Exit code 5 if it does not complete."""
    optional = _start_arguments(flags)

    async def body(client: Client) -> None:
        started, handle = await _start(client, flags, arguments, optional)
        if output == "text":
            show_started(started, output)
        await _await_result(handle, output, msgspec.to_builtins(started))

    run_with_client(connection, body)


@command("result")
@with_target
@with_connection
@with_output
def result(connection: ConnectionOptions, target: Target, output: OutputFormat) -> None:
    """Wait for a workflow's result. Exit code 5 if it does not complete."""

    async def body(client: Client) -> None:
        from perdure.common import RawValue

        handle = client.get_workflow_handle(
            target.workflow_id, run_id=target.run_id, result_type=RawValue
        )
        about: dict[str, object] = {"workflowId": target.workflow_id}
        if target.run_id:
            about["runId"] = target.run_id
        await _await_result(handle, output, about)

    run_with_client(connection, body)


async def _start(
    client: Client,
    flags: StartFlags,
    arguments: list[common.Payload],
    optional: dict[str, Any],
) -> tuple[Started, WorkflowHandle[Any, Any]]:
    from perdure.common import RawValue
    from perdure.exceptions import WorkflowAlreadyStartedError

    # The id must be chosen here, so that retries of the request have the same one.
    workflow_id = flags.workflow_id or f"{flags.type}-{uuid.uuid4()}"  # noqa: TID251
    try:
        handle = await client.start_workflow(
            flags.type,
            args=[RawValue(payload) for payload in arguments],
            id=workflow_id,
            task_queue=flags.task_queue,
            result_type=RawValue,
            **optional,
        )
    except WorkflowAlreadyStartedError as error:
        # An explicit policy is applied literally.
        if (
            flags.fail_existing
            or flags.id_conflict_policy
            or flags.id_reuse_policy
            or not error.run_id
        ):
            raise
        echo(f"perdure: {workflow_id!r} is already running; this is that run", err=True)
        handle = client.get_workflow_handle(workflow_id, run_id=error.run_id, result_type=RawValue)
    run_id = handle.result_run_id or ""
    started = Started(
        workflow_id=workflow_id,
        run_id=run_id,
        type=flags.type,
        namespace=client.namespace,
        task_queue=flags.task_queue,
    )
    return started, handle


def _start_arguments(flags: StartFlags) -> dict[str, Any]:
    """The optional arguments of `Client.start_workflow` that were given on the command line."""
    from perdure.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy

    try:
        memo = payloads.pairs("--memo", flags.memo)
        attributes = payloads.pairs("--search-attribute", flags.search_attribute)
    except payloads.InputError as error:
        raise click.UsageError(str(error)) from None
    arguments: dict[str, Any] = {
        "run_timeout": _timedelta(flags.run_timeout),
        "execution_timeout": _timedelta(flags.execution_timeout),
        "task_timeout": _timedelta(flags.task_timeout),
        "start_delay": _timedelta(flags.start_delay),
        "cron_schedule": flags.cron,
        "memo": memo,
        "search_attributes": _search_attributes(attributes) if attributes else None,
        "static_summary": flags.static_summary,
        "static_details": flags.static_details,
    }
    if flags.id_reuse_policy:
        arguments["id_reuse_policy"] = WorkflowIDReusePolicy[REUSE[flags.id_reuse_policy]]
    if flags.id_conflict_policy:
        arguments["id_conflict_policy"] = WorkflowIDConflictPolicy[
            CONFLICT[flags.id_conflict_policy]
        ]
    if flags.priority_key or flags.fairness_key or flags.fairness_weight:
        arguments["priority"] = Priority(
            priority_key=flags.priority_key,
            fairness_key=flags.fairness_key,
            fairness_weight=flags.fairness_weight,
        )
    return {name: value for name, value in arguments.items() if value}


def _timedelta(ns: int | None) -> timedelta | None:
    return None if ns is None else timedelta(microseconds=ns / 1000)


def _search_attributes(values: dict[str, object]) -> Any:
    """Attributes whose types follow from their JSON values: the command line does not know the registered types."""
    from perdure.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

    def pair(name: str, value: Any) -> SearchAttributePair[Any]:
        match value:
            case bool():
                return SearchAttributePair(SearchAttributeKey.for_bool(name), value)
            case int():
                return SearchAttributePair(SearchAttributeKey.for_int(name), value)
            case float():
                return SearchAttributePair(SearchAttributeKey.for_float(name), value)
            case str():
                return SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
            case list() if all(isinstance(item, str) for item in cast("list[object]", value)):
                return SearchAttributePair(SearchAttributeKey.for_keyword_list(name), value)
            case _:
                raise click.UsageError(
                    f"--search-attribute {name}: write a text, a number, true, false or a list of texts"
                )

    return TypedSearchAttributes([pair(name, value) for name, value in values.items()])


def show_started(started: Started, form: OutputFormat) -> None:
    if form in {"json", "jsonl"}:
        output.document(msgspec.to_builtins(started), form)
    elif form == "text":
        echo("Running execution:")
        output.fields(
            [
                ("WorkflowId", started.workflow_id),
                ("RunId", started.run_id),
                ("Type", started.type),
                ("Namespace", started.namespace),
                ("TaskQueue", started.task_queue),
            ]
        )


async def _await_result(
    handle: WorkflowHandle[Any, Any], form: OutputFormat, about: dict[str, object]
) -> None:
    from perdure.client import WorkflowFailureError
    from perdure.common import RawValue

    try:
        raw: object = await handle.result()
    except WorkflowFailureError as error:
        status, reason = describe_failure(error.cause)
        if form in {"json", "jsonl"}:
            output.document({**about, "status": status, "failure": reason}, form)
        elif form == "text":
            output.fields([("Status", status), ("Failure", reason)])
        message = f"workflow {handle.id!r} did not complete: {status}: {reason}"
        raise CommandError(message, Exit.WORKFLOW_NOT_COMPLETED) from None
    value = payloads.value(raw.payload) if isinstance(raw, RawValue) else raw
    if form in {"json", "jsonl"}:
        output.document({**about, "status": "COMPLETED", "result": value}, form)
    elif form == "text":
        shown = payloads.text(raw.payload) if isinstance(raw, RawValue) else "null"
        output.fields([("Status", "COMPLETED"), ("Result", shown)])


def describe_failure(cause: BaseException | None) -> tuple[str, str]:
    """(status, one line) of what ended a workflow."""
    from perdure import exceptions

    match cause:
        case exceptions.CancelledError():
            status = "CANCELED"
        case exceptions.TerminatedError():
            status = "TERMINATED"
        case exceptions.TimeoutError():
            status = "TIMED_OUT"
        case _:
            status = "FAILED"
    if isinstance(cause, exceptions.FailureError) and cause.failure is not None:
        return status, payloads.failure_text(cause.failure)
    return status, " ".join(str(cause).split())
