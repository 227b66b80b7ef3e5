"""Printing: tables and fields for people, JSON for programs.

Invariants: data goes to stdout, everything else to stderr; `json` is one document, `jsonl` one document per line; the
JSON of API messages uses their protobuf JSON names, with payloads decoded unless requested otherwise. Every command
prints through `echo`, so that text of others cannot steer the terminal; a value inside a line keeps no line break.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.exits import CommandError
from perdure.rendering import payloads
from perdure.rendering.visible import visible
from perdure.wire.api import common

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.cli.options import OutputFormat


def echo(text: str, *, err: bool = False) -> None:
    """Print lines. What would steer the terminal is spelled out; a JSON text keeps its meaning."""
    try:
        click.echo(visible(text, keep_lines=True), err=err)
    except OSError:
        if not err:
            raise  # an error of stderr itself cannot be reported


def document(value: object, output: OutputFormat) -> None:
    """One JSON document: indented for `json`, on one line for `jsonl`."""
    try:
        echo(_encoded(value, 2 if output == "json" else None))
    except RecursionError:
        raise CommandError("the answer is nested too deeply to be shown as JSON") from None


def _encoded(value: object, indent: int | None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent)
    except RecursionError:
        # Without indentation the encoder follows about three times as many levels.
        return json.dumps(value, ensure_ascii=False)


def documents(values: Iterable[object], output: OutputFormat) -> None:
    """Several: an array for `json`, a line each for `jsonl`."""
    if output == "jsonl":
        for value in values:
            document(value, output)
    else:
        document(list(values), output)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """`name  value` lines, aligned; values that are None or empty are left out."""
    shown = [
        (visible(name), visible(str(value))) for name, value in pairs if value not in (None, "")
    ]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        echo(f"  {name:<{width}}  {value}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest value; the last one may run over."""
    shown = [[visible(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[index]) for row in shown) for index in range(len(header))]
    for row in shown:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        echo(line.rstrip())


def message(value: Message, *, decode_payloads: bool = True) -> dict[str, Any]:
    """The protobuf JSON form of an API message.

    Args:
        value: Any message of the API.
        decode_payloads: Put JSON values in the place of payloads. Not what another tool can read back: histories that
            are to be replayed need False.

    Raises:
        CommandError: The message has a value that protobuf's JSON cannot represent.
    """
    from google.protobuf import json_format  # here because a server prints no messages

    try:
        rendered: dict[str, Any] = json_format.MessageToDict(value)
    except (ValueError, json_format.Error) as error:
        # For instance, a time after the year 9999.
        raise CommandError(f"the answer cannot be shown as JSON: {error}") from None
    if decode_payloads:
        _decode(value, rendered)
    return rendered


def _decode(value: Message, rendered: dict[str, Any]) -> None:
    for field, content in value.ListFields():
        if field.message_type is None or (name := field.json_name) not in rendered:
            continue
        if field.message_type.GetOptions().map_entry:
            for key in content:
                rendered[name][str(key)] = _decoded(content[key], rendered[name][str(key)])
        elif isinstance(rendered[name], list) and not isinstance(content, common.Payloads):
            rendered[name] = [
                _decoded(item, shown) for item, shown in zip(content, rendered[name], strict=True)
            ]
        else:
            rendered[name] = _decoded(content, rendered[name])


def _decoded(content: Any, shown: Any) -> Any:
    if isinstance(content, common.Payload):
        return payloads.value(content)
    if isinstance(content, common.Payloads):
        return [payloads.value(payload) for payload in content.payloads]
    if isinstance(shown, dict) and hasattr(content, "ListFields"):
        _decode(content, shown)  # pyright: ignore[reportUnknownArgumentType] - JSON of any shape
    return shown  # pyright: ignore[reportUnknownVariableType]
