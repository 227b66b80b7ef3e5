"""The protocol messages of a completed workflow task: a table from the type of a message's body to its handler.

Role: apply the messages in the order of the commands that mention them, and the rest after all commands (S-17). A
handler writes events through the draft or raises `CommandRejected`, and then the whole draft is abandoned. Handlers
live with their families and register through `handles_message`.
Not here: what a message means (`update`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError

from perdure.history.commands.checks import CommandChecks
from perdure.history.commands.table import Cause, Command, CommandContext, CommandRejected, handles
from perdure.history.draft.update_values import UpdateRejection, server_failure
from perdure.wire.api import enums
from perdure.wire.errors import shown
from perdure.wire.failures import with_bounded_failures

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.history.draft.draft import Draft
    from perdure.wire.api import command as commands_api
    from perdure.wire.api import protocol

_BAD_MESSAGE = Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE

Body = TypeVar("Body", bound="Message")
MessageHandler = Callable[["Draft", "protocol.Message", Body, CommandContext], None]
"""(draft, the message, its body, context)"""

MESSAGE_HANDLERS: dict[type[Any], MessageHandler[Any]] = {}
"""Filled by the families."""


def handles_message(body: type[Body]) -> Callable[[MessageHandler[Body]], MessageHandler[Body]]:
    """Register the handler of messages with one type of body."""

    def register(handler: MessageHandler[Body]) -> MessageHandler[Body]:
        assert body not in MESSAGE_HANDLERS, body
        MESSAGE_HANDLERS[body] = handler
        return handler

    return register


@handles(enums.COMMAND_TYPE_PROTOCOL_MESSAGE)
def _apply_mentioned(
    draft: Draft,
    attributes: commands_api.ProtocolMessageCommandAttributes,
    command: Command,
    context: CommandContext,
) -> None:
    """S-17: the command says where among the others a message belongs."""
    check = CommandChecks(command, _BAD_MESSAGE, draft.env.limits)
    check.id(attributes.message_id, "message id")
    message = context.messages.pop(attributes.message_id, None)
    if message is None:
        raise check.reject(f"no message has the id {shown(attributes.message_id)}.")
    _apply(draft, message, context)


def apply_messages(draft: Draft, context: CommandContext) -> None:
    """The messages that no command mentioned, after all commands (S-17)."""
    for message in context.messages.values():
        if not draft.state.is_running:
            return
        _apply(draft, message, context)


def reject_unanswered(context: CommandContext) -> None:
    """S-17: the worker does not support the updates that it got and did not answer."""
    unanswered = server_failure(
        "Workflow Update is rejected because it wasn't processed by worker. "
        "Probably, Workflow Update is not supported by the worker.",
        "UnprocessedUpdate",
    )
    for update_id in context.updates.sent:
        if update_id not in context.answered:
            context.rejections.append(UpdateRejection(update_id, unanswered))


def check_size(draft: Draft, message: protocol.Message, size_bytes: int) -> None:
    """Refuse what is too large to be stored.

    Raises:
        CommandRejected: It is; the run is terminated.
    """
    limit = draft.env.limits.blob_size_bytes_max
    if size_bytes > limit:
        raise CommandRejected(
            _BAD_MESSAGE,
            f"message {shown(message.id)} has {size_bytes} bytes; the limit is {limit}.",
            terminates=True,
        )


def rejected(message: protocol.Message, why: str) -> CommandRejected:
    """The error for a message that cannot be applied."""
    return CommandRejected(_BAD_MESSAGE, f"message {shown(message.id)}: {why}.")


def _apply(draft: Draft, message: protocol.Message, context: CommandContext) -> None:
    if not message.protocol_instance_id:
        raise rejected(message, "protocol_instance_id is not set")
    for kind, handle in MESSAGE_HANDLERS.items():
        if message.body.Is(kind.DESCRIPTOR):
            body = kind()
            try:
                message.body.Unpack(body)
            except DecodeError:
                raise rejected(message, "its body cannot be read") from None
            handle(draft, message, with_bounded_failures(body, is_own=True), context)
            return
    raise rejected(message, f"its body is of the unknown type {shown(message.body.TypeName())!r}")
