"""The commands of a completed workflow task: a table from command type to handler.

Role: apply the commands in order to the draft in which WorkflowTaskCompleted was just added. A handler writes events
through the draft or raises `CommandRejected`; then the whole draft is abandoned and the workflow task fails with that
cause (S-7): none of its commands applies. Handlers live with their families and register through `handles`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdure.wire.api import command as commands_api
from perdure.wire.api import enums

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft
    from perdure.history.draft.replies import ActivityTaskReply
    from perdure.history.draft.update_values import TaskUpdates, UpdateRejection
    from perdure.history.state.run_state import RunState
    from perdure.wire.api import protocol

Command = commands_api.Command
Cause = enums.WorkflowTaskFailedCause
_UNSUPPORTED = enums.WORKFLOW_TASK_FAILED_CAUSE_FEATURE_DISABLED


class CommandRejected(Exception):
    """A command that cannot be applied: its workflow task fails with `cause` and `message` (S-7).

    With `terminates` no later attempt could do better (a payload over the limit): the run is terminated.
    """

    def __init__(
        self, cause: Cause.ValueType, message: str = "", *, terminates: bool = False
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.terminates = terminates

    @property
    def text(self) -> str:
        """Cause and message, for history and callers: "UnhandledCommand", "BadStartTimerAttributes: …"."""
        name = Cause.Name(self.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
        cause = name.title().replace("_", "")
        return f"{cause}: {self.message}" if self.message else cause


class CommandContext:
    """What handlers of one completed workflow task share."""

    def __init__(self, *, completed_event_id: int, identity: str, updates: TaskUpdates) -> None:
        self.completed_event_id = completed_event_id
        """For `workflow_task_completed_event_id` of every command event (S-1)."""
        self.identity = identity
        self.needs_workflow_task = False
        """A handler produced an event that the workflow must see at once (S-32)."""
        self.eager_activities: list[ActivityTaskReply] = []
        """Activities started for the worker that completed the task (S-34)."""
        self.eager_bytes = 0
        """An estimate of their size in the reply."""
        self.is_closing = False
        """Some command of this task completes the run: nothing is handed out eagerly (S-34)."""
        self.initiated_children: set[str] = set()
        """Workflow ids of the children that this task started: it cannot cancel them as well."""
        self.messages: dict[str, protocol.Message] = {}
        """Protocol messages of the completion that are not applied yet, by id (S-17)."""
        self.updates = updates
        self.answered: set[str] = set()
        """Ids of updates that were accepted or rejected."""
        self.rejections: list[UpdateRejection] = []
        self.own_buffered = 0
        """How many of the buffered events this task's own commands caused."""

    def has_new_events(self, state: RunState) -> bool:
        """Something waits that the workflow did not cause and has not seen: it cannot complete yet (S-4 and S-5).

        Updates that no worker has got do not count: the run that follows takes them, or they are aborted (S-20).
        """
        return len(state.buffered) > self.own_buffered


Handler = Callable[["Draft", Any, Command, CommandContext], None]
"""(draft, the command's attributes, the command, context)"""

HANDLERS: dict[int, Handler] = {}
"""Filled by the families."""

CLOSING = frozenset(
    {
        enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        enums.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
        enums.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
        enums.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
    }
)


def handles(command_type: enums.CommandType.ValueType) -> Callable[[Handler], Handler]:
    """Register the handler of one command type."""

    def register(handler: Handler) -> Handler:
        assert command_type not in HANDLERS, enums.CommandType.Name(command_type)
        HANDLERS[command_type] = handler
        return handler

    return register


def apply_commands(draft: Draft, commands: Sequence[Command], context: CommandContext) -> None:
    """Apply all commands, in order; those after the first completion are ignored (S-6).

    Raises:
        CommandRejected: One of them cannot be applied; the caller abandons the draft.
    """
    state, limit_bytes = draft.state, draft.env.limits.transaction_bytes_max
    context.is_closing = any(command.command_type in CLOSING for command in commands)
    for command in commands:
        if not state.is_running:
            return
        before_bytes = state.history_size_bytes
        handler = HANDLERS.get(command.command_type)
        if handler is None:
            raise CommandRejected(_UNSUPPORTED, f"{command_name(command)} is not supported yet.")
        handler(draft, _attributes(command), command, context)
        if (size_bytes := state.history_size_bytes - before_bytes) > limit_bytes:
            # The first words are the reference server's: users look for them.
            raise CommandRejected(
                enums.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
                f"Transaction size exceeds limit. {command_name(command)} adds {size_bytes} bytes to the history; "
                f"the limit is {limit_bytes}.",
                terminates=True,
            )


def command_name(command: Command) -> str:
    """The command's type for messages, such as "StartTimer"; unknown numbers as they are."""
    try:
        name = enums.CommandType.Name(command.command_type)
    except ValueError:
        return f"Command type {command.command_type}"
    return name.removeprefix("COMMAND_TYPE_").title().replace("_", "")


def _attributes(command: Command) -> Any:
    kind = enums.CommandType.Name(command.command_type).removeprefix("COMMAND_TYPE_").lower()
    field = command.WhichOneof("attributes")
    if field is None:
        raise CommandRejected(_UNSUPPORTED, f"{command_name(command)} has no attributes.")
    if field != f"{kind}_command_attributes":
        # A worker's bug. An error of ours would have it repeat the completion without end.
        raise CommandRejected(_UNSUPPORTED, f"{command_name(command)} has those of another type.")
    return getattr(command, field)
