"""`perdure operator namespace create | update | describe | list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from perdure.cli import output
from perdure.cli.exits import CommandError, Exit
from perdure.cli.options import (
    RETENTION,
    ConnectionOptions,
    OutputFormat,
    command,
    with_connection,
    with_output,
)
from perdure.cli.session import run_with_client
from perdure.core.limits import RETENTION_FOREVER_NS
from perdure.rendering import durations
from perdure.wire.api import enums, namespace, workflowservice
from perdure.wire.times import duration, duration_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.client import Client

    Described = workflowservice.DescribeNamespaceResponse


def _with_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--data", multiple=True, help="KEY=VALUE that the namespace keeps; repeatable."
        ),
        click.option("--email", default="", help="Address of the owner."),
        click.option("--description", default="", help="What the namespace is for."),
        click.option(
            "--retention",
            "retention_ns",
            type=RETENTION,
            help="How long closed workflows are kept: 30d, or forever.",
        ),
    ):
        function = option(function)
    return function


@command("create")
@_with_settings
@with_connection
@with_output
def create(
    connection: ConnectionOptions,
    *,
    retention_ns: int | None,
    description: str,
    email: str,
    data: tuple[str, ...],
    output: OutputFormat,
) -> None:
    """Register the namespace that --namespace names. Without --retention, its closed workflows are kept forever."""
    request = workflowservice.RegisterNamespaceRequest(
        namespace=connection.namespace,
        description=description,
        owner_email=email,
        data=_pairs(data),
        workflow_execution_retention_period=_period(retention_ns),
    )

    async def body(client: Client) -> Described:
        await client.workflow_service.register_namespace(request)
        return await _described(client, connection.namespace)

    _show(run_with_client(connection, body), output)


@command("update")
@_with_settings
@with_connection
@with_output
def update(
    connection: ConnectionOptions,
    *,
    retention_ns: int | None,
    description: str,
    email: str,
    data: tuple[str, ...],
    output: OutputFormat,
) -> None:
    """Change settings of a namespace; those that are not given stay.

    A longer retention also holds for workflows that are closed already, a shorter one for those that close from now on.
    """
    request = workflowservice.UpdateNamespaceRequest(
        namespace=connection.namespace,
        update_info=namespace.UpdateNamespaceInfo(
            description=description, owner_email=email, data=_pairs(data)
        ),
        config=namespace.NamespaceConfig(workflow_execution_retention_ttl=_period(retention_ns)),
    )

    async def body(client: Client) -> Described:
        await client.workflow_service.update_namespace(request)
        return await _described(client, connection.namespace)

    _show(run_with_client(connection, body), output)


@command("describe")
@with_connection
@with_output
def describe(connection: ConnectionOptions, output: OutputFormat) -> None:
    """Show the settings of a namespace."""

    async def body(client: Client) -> Described:
        return await _described(client, connection.namespace)

    _show(run_with_client(connection, body), output)


@command("list")
@with_connection
@with_output
def list_(connection: ConnectionOptions, output: OutputFormat) -> None:
    """List the namespaces of a server, by name."""

    async def body(client: Client) -> list[Described]:
        found: list[Described] = []
        request = workflowservice.ListNamespacesRequest()
        while True:
            page = await client.workflow_service.list_namespaces(request)
            found += page.namespaces
            if not page.next_page_token:
                return found
            request.next_page_token = page.next_page_token

    _show_list(run_with_client(connection, body), output)


async def _described(client: Client, name: str) -> Described:
    request = workflowservice.DescribeNamespaceRequest(namespace=name)
    return await client.workflow_service.describe_namespace(request)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in texts:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise CommandError(f"--data {pair!r} is not KEY=VALUE", Exit.USAGE)
        found[key] = value
    return found


def _period(retention_ns: int | None) -> Any:
    if retention_ns is not None and retention_ns <= 0:
        raise CommandError(
            "--retention must be longer than nothing; 'forever' keeps all workflows", Exit.USAGE
        )
    return None if retention_ns is None else duration(retention_ns)


def _retention(described: Described) -> str:
    retention_ns = duration_ns(described.config.workflow_execution_retention_ttl)
    return "forever" if retention_ns >= RETENTION_FOREVER_NS else durations.show_exact(retention_ns)


def _show(described: Described, form: OutputFormat) -> None:
    info = described.namespace_info
    if form in {"json", "jsonl"}:
        output.document(output.message(described), form)
    elif form == "text":
        output.fields(
            [
                ("Name", info.name),
                ("Id", info.id),
                ("State", enums.name_of(enums.NamespaceState.Name, info.state, "NAMESPACE_STATE_")),
                ("Retention", _retention(described)),
                ("Description", info.description),
                ("Owner", info.owner_email),
                *((key, info.data[key]) for key in sorted(info.data)),
            ]
        )


def _show_list(found: list[Described], form: OutputFormat) -> None:
    if form in {"json", "jsonl"}:
        output.documents((output.message(one) for one in found), form)
    elif form == "text":
        output.table(
            ("NAME", "RETENTION", "DESCRIPTION"),
            [
                (one.namespace_info.name, _retention(one), one.namespace_info.description)
                for one in found
            ],
        )
