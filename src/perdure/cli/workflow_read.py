"""`perdure workflow list | count | show | describe`."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli import output
from perdure.cli.options import (
    ConnectionOptions,
    OutputFormat,
    Target,
    command,
    with_connection,
    with_output,
    with_target,
)
from perdure.cli.output import echo
from perdure.cli.session import run_with_client
from perdure.core.clock import SystemClock
from perdure.rendering import durations, payloads, timeline
from perdure.rendering.visible import visible
from perdure.wire.api import enums, history
from perdure.wire.times import timestamp_ns, timestamp_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.client import Client, WorkflowExecution, WorkflowHandle
    from perdure.wire.api import failure as failure_api
    from perdure.wire.api import workflow as workflow_api
    from perdure.wire.api import workflowservice

PIPE_COLUMNS = 200
"""Width of a timeline that does not go to a terminal."""


# ── list and count ────────────────────────────────────────────────────────────────────────────────


@command("list")
@click.option("--query", "-q", default=None, help="List filter, e.g. WorkflowType='Order'.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=None, help="Largest number of workflows."
)
@click.option(
    "--page-size", type=click.IntRange(1, 1000), default=100, help="Per request.  [default: 100]"
)
@with_connection
@with_output
def list_(
    connection: ConnectionOptions,
    query: str | None,
    limit: int | None,
    page_size: int,
    output: OutputFormat,
) -> None:
    """List workflows, the newest first."""

    async def body(client: Client) -> list[WorkflowExecution]:
        return [
            item async for item in client.list_workflows(query, limit=limit, page_size=page_size)
        ]

    show_list(run_with_client(connection, body), output, SystemClock().now_ns())


def show_list(found: list[WorkflowExecution], form: OutputFormat, now_ns: int) -> None:
    if form in {"json", "jsonl"}:
        output.documents((output.message(item.raw_info) for item in found), form)
    elif form == "text":
        rows = [
            (
                status_name(item.raw_info.status),
                item.id,
                item.workflow_type,
                f"{durations.show(now_ns - timestamp_ns(item.raw_info.start_time))} ago",
                item.run_id,
            )
            for item in found
        ]
        output.table(("STATUS", "WORKFLOW ID", "TYPE", "STARTED", "RUN ID"), rows)


@command("count")
@click.option("--query", "-q", default=None, help="List filter.")
@with_connection
@with_output
def count(connection: ConnectionOptions, query: str | None, output: OutputFormat) -> None:
    """Count workflows."""

    async def body(client: Client) -> Any:
        return await client.count_workflows(query)

    show_count(run_with_client(connection, body), output)


def show_count(counted: Any, form: OutputFormat) -> None:
    groups: list[tuple[list[object], int]] = [
        (list(g.group_values), g.count) for g in counted.groups
    ]
    if form in {"json", "jsonl"}:
        shown = [
            {"groupValues": [str(value) for value in values], "count": n} for values, n in groups
        ]
        output.document({"count": counted.count, **({"groups": shown} if shown else {})}, form)
    elif form == "text":
        echo(f"Total: {counted.count}")
        for values, number in groups:
            echo(f"  {visible(', '.join(str(value) for value in values))}: {number}")


# ── show ──────────────────────────────────────────────────────────────────────────────────────────


@command("show")
@with_target
@click.option("--follow", "-f", is_flag=True, help="Show new events until the workflow closes.")
@click.option("--detailed", is_flag=True, help="A line per event instead of one per step.")
@click.option("--reverse", is_flag=True, help="Show the newest first.")
@click.option("--no-cut", is_flag=True, help="Do not shorten long values.")
@click.option(
    "--decode",
    is_flag=True,
    help="With -o json: JSON values instead of payloads (not for replaying).",
)
@with_connection
@with_output
def show(
    connection: ConnectionOptions,
    target: Target,
    follow: bool,
    detailed: bool,
    reverse: bool,
    no_cut: bool,
    decode: bool,
    output: OutputFormat,
) -> None:
    """Show a workflow's history as a timeline.

    `-o json` is the history in its standard JSON form, which every SDK can replay.
    """
    style = terminal_style(detailed=detailed, newest_first=reverse, no_cut=no_cut)

    async def body(client: Client) -> None:
        handle = client.get_workflow_handle(target.workflow_id, run_id=target.run_id)
        if follow and output in {"text", "jsonl"}:
            await _follow(handle, output, style, decode=decode)
            return
        events = [event async for event in handle.fetch_history_events(wait_new_event=follow)]
        show_history(events, output, style, target.workflow_id, decode=decode)

    run_with_client(connection, body)


def show_history(
    events: list[history.HistoryEvent],
    form: OutputFormat,
    style: timeline.Style,
    workflow_id: str,
    *,
    decode: bool,
) -> None:
    ordered = events[::-1] if style.newest_first else events
    if form == "json":
        recorded = history.History(events=ordered)
        output.document(output.message(recorded, decode_payloads=decode), form)
    elif form == "jsonl":
        output.documents((output.message(event, decode_payloads=decode) for event in ordered), form)
    elif form == "text":
        now_ns = SystemClock().now_ns()
        recorded = history.History(events=events)
        echo(timeline.render(recorded, style=style, now_ns=now_ns, title=workflow_id))


async def _follow(
    handle: WorkflowHandle[Any, Any], form: OutputFormat, style: timeline.Style, *, decode: bool
) -> None:
    begin_ns: int | None = None
    async for event in handle.fetch_history_events(wait_new_event=True):
        if form == "jsonl":
            output.document(output.message(event, decode_payloads=decode), form)
            continue
        if begin_ns is None:
            begin_ns = timestamp_ns(event.event_time)
        if line := timeline.event_line(event, begin_ns, style):
            echo(line)


def terminal_style(*, detailed: bool, newest_first: bool, no_cut: bool) -> timeline.Style:
    """A style that fits the terminal, is wide when the output is piped, and uses ASCII if the encoding requires it."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "━✓".encode(encoding)
        alphabet = timeline.UNICODE
    except UnicodeEncodeError:
        alphabet = timeline.ASCII
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_COLUMNS
    return timeline.Style(
        width=None if no_cut else width,
        alphabet=alphabet,
        detailed=detailed,
        newest_first=newest_first,
    )


# ── describe ──────────────────────────────────────────────────────────────────────────────────────


@command("describe")
@with_target
@click.option("--raw", is_flag=True, help="Print the server's whole answer, payloads not decoded.")
@with_connection
@with_output
def describe(
    connection: ConnectionOptions, target: Target, raw: bool, output: OutputFormat
) -> None:
    """Show the state of a workflow and what it is waiting for."""

    async def body(
        client: Client,
    ) -> tuple[workflowservice.DescribeWorkflowExecutionResponse, str]:
        handle = client.get_workflow_handle(target.workflow_id, run_id=target.run_id)
        answer = (await handle.describe()).raw_description
        if output == "text" and not raw and answer.pending_workflow_task.attempt > 1:
            return answer, await _lasttask_failure_text(handle)
        return answer, ""

    answer, problem = run_with_client(connection, body)
    show_description(answer, output, SystemClock().now_ns(), raw=raw, problem=problem)


async def _lasttask_failure_text(handle: WorkflowHandle[Any, Any]) -> str:
    """The message of the last failed workflow task; empty if there is none. Time-outs have no message."""
    found = ""
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_failed_event_attributes"):
            found = task_failure_text(event.workflow_task_failed_event_attributes.failure)
    return found


# Traceback frames outside this library. The last one is the user's line.
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_LIBRARY = Path(__file__).parent.parent


def task_failure_text(failure: failure_api.Failure) -> str:
    """All lines of the worker's message (a nondeterminism report is a page long), and the user's line."""
    first = visible(payloads.failure_text(failure))
    text = first if "\n" not in failure.message else failure.message.strip()
    frames = [
        frame
        for frame in _FRAME.finditer(failure.stack_trace)
        if not Path(frame["file"]).is_relative_to(_LIBRARY)
    ]
    if frames and f"{frames[-1]['file']}:" not in text:
        text += "\n" + visible(
            "  at {file}:{line} in {function}".format_map(frames[-1].groupdict())
        )
    return text


def show_description(
    answer: workflowservice.DescribeWorkflowExecutionResponse,
    form: OutputFormat,
    now_ns: int,
    *,
    raw: bool = False,
    problem: str = "",
) -> None:
    if raw or form in {"json", "jsonl"}:
        output.document(
            output.message(answer, decode_payloads=not raw), "json" if form == "text" else form
        )
        return
    if form == "none":
        return
    info = answer.workflow_execution_info
    echo("Execution:")
    output.fields(_execution_fields(info, now_ns))
    if answer.HasField("pending_workflow_task") and answer.pending_workflow_task.attempt > 1:
        task = answer.pending_workflow_task
        echo(f"\nIts workflow task fails, and is tried again: attempt {task.attempt}")
        problem = problem or (
            "its history does not say why: a time-out came first (no worker answered); see the workers' logs"
        )
        echo(textwrap.indent(problem, "  "))
    if answer.pending_activities:
        echo(f"\nPending activities: {len(answer.pending_activities)}")
        output.table(
            ("ID", "TYPE", "STATE", "ATTEMPT", "NEXT", "LAST FAILURE"),
            [_activity_row(activity, now_ns) for activity in answer.pending_activities],
        )
    if answer.pending_children:
        echo(f"\nPending children: {len(answer.pending_children)}")
        output.table(
            ("WORKFLOW ID", "TYPE", "RUN ID"),
            [(c.workflow_id, c.workflow_type_name, c.run_id) for c in answer.pending_children],
        )


def _execution_fields(
    info: workflow_api.WorkflowExecutionInfo, now_ns: int
) -> Iterable[tuple[str, object]]:
    started_ns = timestamp_ns(info.start_time)
    closed_ns = timestamp_ns(info.close_time)
    yield "WorkflowId", info.execution.workflow_id
    yield "RunId", info.execution.run_id
    yield "Type", info.type.name
    yield "Status", status_name(info.status)
    yield "TaskQueue", info.task_queue
    yield (
        "Started",
        f"{timestamp_text(info.start_time)} ({durations.show(now_ns - started_ns)} ago)",
    )
    if closed_ns:
        took = durations.show(closed_ns - started_ns)
        yield "Closed", f"{timestamp_text(info.close_time)} (after {took})"
    yield "Events", info.history_length
    yield "Bytes", info.history_size_bytes or None
    yield "Parent", info.parent_execution.workflow_id
    memo = {key: payloads.value(value) for key, value in info.memo.fields.items()}
    yield "Memo", memo or None
    attributes = {
        key: payloads.value(v) for key, v in info.search_attributes.indexed_fields.items()
    }
    yield "SearchAttributes", attributes or None


def _activity_row(activity: workflow_api.PendingActivityInfo, now_ns: int) -> tuple[str, ...]:
    state = enums.name_of(
        enums.PendingActivityState.Name, activity.state, "PENDING_ACTIVITY_STATE_"
    )
    wait_ns = timestamp_ns(activity.scheduled_time) - now_ns
    waiting = (
        activity.state == enums.PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        and wait_ns > 0
    )
    limit = f" of {activity.maximum_attempts}" if activity.maximum_attempts else ""
    failure = (
        payloads.failure_text(activity.last_failure) if activity.HasField("last_failure") else ""
    )
    return (
        activity.activity_id,
        activity.activity_type.name,
        "PAUSED" if activity.paused else state,
        f"{activity.attempt}{limit}",
        f"in {durations.show(wait_ns)}" if waiting else "",
        failure,
    )


def status_name(status: enums.WorkflowExecutionStatus.ValueType) -> str:
    """The status without its prefix: `RUNNING`, `COMPLETED`."""
    return enums.name_of(enums.WorkflowExecutionStatus.Name, status, "WORKFLOW_EXECUTION_STATUS_")
