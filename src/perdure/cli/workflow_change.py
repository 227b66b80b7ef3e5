"""`perdure workflow signal | query | cancel | terminate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from perdure.cli import output
from perdure.cli.exits import CommandError
from perdure.cli.options import (
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


def _handle(client: Client, target: Target) -> WorkflowHandle[Any, Any]:
    return client.get_workflow_handle(target.workflow_id, run_id=target.run_id)


def _done(form: OutputFormat, target: Target, text: str, **more: object) -> None:
    if form in {"json", "jsonl"}:
        about: dict[str, object] = {"workflowId": target.workflow_id}
        if target.run_id:
            about["runId"] = target.run_id
        output.document({**about, **more}, form)
    elif form == "text":
        echo(text)


@command("signal")
@with_target
@click.option("--name", "--type", "name", required=True, help="Name of the signal.")
@with_input
@with_connection
@with_output
def signal(
    connection: ConnectionOptions,
    arguments: list[common.Payload],
    target: Target,
    name: str,
    output: OutputFormat,
) -> None:
    """Send a signal.

    \b
    perdure workflow signal --workflow-id approval-1 --name approve --input '"alice"'
    """  # noqa: D301 - \b is click's mark for lines that stay as they are

    async def body(client: Client) -> None:
        from perdure.common import RawValue

        await _handle(client, target).signal(
            name, args=[RawValue(payload) for payload in arguments]
        )

    run_with_client(connection, body)
    _done(output, target, f"signal {name!r} accepted", signal=name)


@command("query")
@with_target
@click.option("--name", "--type", "name", required=True, help="Name of the query.")
@click.option(
    "--reject-condition",
    type=click.Choice(["not_open", "not_completed_cleanly"]),
    default=None,
    help="Refuse the query if the workflow is closed, or closed without completing.",
)
@with_input
@with_connection
@with_output
def query(
    connection: ConnectionOptions,
    arguments: list[common.Payload],
    target: Target,
    name: str,
    reject_condition: str | None,
    output: OutputFormat,
) -> None:
    """Query a workflow. A running worker must answer."""
    show_answer(
        run_with_client(
            connection, lambda client: _ask(client, target, name, arguments, reject_condition)
        ),
        output,
    )


async def _ask(
    client: Client,
    target: Target,
    name: str,
    arguments: list[common.Payload],
    reject_condition: str | None,
) -> object:
    from perdure.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
    from perdure.common import QueryRejectCondition, RawValue

    condition = QueryRejectCondition[reject_condition.upper()] if reject_condition else None
    try:
        return await _handle(client, target).query(
            name,
            args=[RawValue(payload) for payload in arguments],
            result_type=RawValue,
            reject_condition=condition,
        )
    except WorkflowQueryRejectedError as error:
        status = error.status.name if error.status else "in another state"
        raise CommandError(f"not asked: workflow {target.workflow_id!r} is {status}") from None
    except WorkflowQueryFailedError as error:
        raise CommandError(f"query {name!r} failed: {' '.join(str(error).split())}") from None


def show_answer(raw: object, form: OutputFormat) -> None:
    from perdure.common import RawValue

    if form in {"json", "jsonl"}:
        value = payloads.value(raw.payload) if isinstance(raw, RawValue) else raw
        output.document({"queryResult": value}, form)
    elif form == "text":
        echo(payloads.text(raw.payload) if isinstance(raw, RawValue) else "null")


@command("cancel")
@with_target
@click.option("--reason", default="", help="Why; the workflow's history keeps it.")
@with_connection
@with_output
def cancel(
    connection: ConnectionOptions, target: Target, reason: str, output: OutputFormat
) -> None:
    """Request cancellation of a workflow. It may clean up first."""

    async def body(client: Client) -> None:
        await _handle(client, target).cancel(reason=reason)

    run_with_client(connection, body)
    _done(output, target, f"cancellation of {target.workflow_id!r} requested", cancelRequested=True)


@command("terminate")
@with_target
@click.option("--reason", default="", help="Why; the workflow's history keeps it.")
@with_connection
@with_output
def terminate(
    connection: ConnectionOptions, target: Target, reason: str, output: OutputFormat
) -> None:
    """Close a workflow at once, without running its code."""

    async def body(client: Client) -> None:
        await _handle(client, target).terminate(reason=reason or None)

    run_with_client(connection, body)
    _done(output, target, f"workflow {target.workflow_id!r} terminated", terminated=True)
