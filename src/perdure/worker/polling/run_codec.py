"""The payload codec for one run: each payload with the context of what it belongs to (R-37).

Role: a codec with contexts (`WithSerializationContext`) may, for example, use a key for each workflow. A payload must
have the same context when it is encoded and decoded, so this module determines for every command and event what its
payloads belong to: an activity, another workflow, or the run itself. Other codecs are applied to whole messages.

Invariants: the context of an activity comes from the event that scheduled it, which is decoded before the events that
close it; each replay from the first event starts with a new `RunCodec`. Not here: finding the payloads in a
message (`codec`), converters in workflow code (`host.converters`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from perdure.converter import (
    ActivitySerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.replay.markers import LOCAL_ACTIVITY_MARKER, first_data
from perdure.wire.api import command as api
from perdure.wire.api import enums, history, workflowservice
from perdure.worker.polling.codec import apply_codec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.converter import PayloadCodec, SerializationContext

    Answer = (
        workflowservice.RespondWorkflowTaskCompletedRequest
        | workflowservice.RespondWorkflowTaskFailedRequest
        | workflowservice.RespondQueryTaskCompletedRequest
    )
    Question = (
        workflowservice.PollWorkflowTaskQueueResponse
        | workflowservice.GetWorkflowExecutionHistoryResponse
    )


class RunCodec:
    """Encodes and decodes the payloads of one run, each with the context of what it belongs to.

    Args:
        codec: The user's codec, if there is one.
        namespace: The namespace of the run.
        workflow_id: The workflow id of the run.
        workflow_type: The workflow type of the run.
        task_queue: The task queue of the run's worker, where its local activities run.
        headers: Whether headers are encoded as well.
    """

    def __init__(
        self,
        codec: PayloadCodec | None,
        *,
        namespace: str,
        workflow_id: str,
        workflow_type: str,
        task_queue: str,
        headers: bool = False,
    ) -> None:
        self._codec = codec
        self._headers = headers
        self._asks = isinstance(codec, WithSerializationContext)
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._workflow_type = workflow_type
        self._task_queue = task_queue
        self._activities: dict[int, SerializationContext] = {}
        """The context of each activity, by the id of the event that scheduled it."""

    async def encode(self, message: Answer) -> None:
        """Encode every payload of a completion, a failure or an answer to a query, in place."""
        if self._codec is None:
            return
        if not self._asks:
            await apply_codec(message, self._codec.encode, headers=self._headers)
            return
        apart = workflowservice.RespondWorkflowTaskCompletedRequest()
        if isinstance(message, workflowservice.RespondWorkflowTaskCompletedRequest):
            apart.commands.extend(message.commands)
            del message.commands[:]
        await apply_codec(message, self._with(self._own()).encode, headers=self._headers)
        for command in apart.commands:
            await apply_codec(
                command, self._with(self._of_command(command)).encode, headers=self._headers
            )
        if isinstance(message, workflowservice.RespondWorkflowTaskCompletedRequest):
            message.commands.extend(apart.commands)

    async def decode(self, message: Question) -> None:
        """Decode every payload of a workflow task or a page of history, in place."""
        if self._codec is None:
            return
        if not self._asks:
            await apply_codec(message, self._codec.decode, headers=self._headers)
            return
        apart = history.History(events=message.history.events)
        del message.history.events[:]
        await apply_codec(message, self._with(self._own()).decode, headers=self._headers)
        await self.decode_events(apart.events)
        message.history.MergeFrom(apart)

    async def decode_events(self, events: Iterable[history.HistoryEvent]) -> None:
        """Decode every payload of these events, in place."""
        if self._codec is None:
            return
        for event in events:
            await apply_codec(
                event, self._with(self._of_event(event)).decode, headers=self._headers
            )

    def _with(self, context: SerializationContext) -> PayloadCodec:
        codec = cast("Any", self._codec)
        return codec.with_context(context) if self._asks else codec

    # What it belongs to.

    def _own(self) -> SerializationContext:
        return self._workflow(self._workflow_id)

    def _workflow(self, workflow_id: str) -> SerializationContext:
        return WorkflowSerializationContext(namespace=self._namespace, workflow_id=workflow_id)

    def _activity(
        self, activity_id: str, activity_type: str, queue: str, *, is_local: bool
    ) -> SerializationContext:
        return ActivitySerializationContext(
            namespace=self._namespace,
            workflow_id=self._workflow_id,
            workflow_type=self._workflow_type,
            activity_type=activity_type,
            activity_id=activity_id,
            activity_task_queue=queue,
            is_local=is_local,
        )

    def _of_command(self, command: api.Command) -> SerializationContext:
        name = command.WhichOneof("attributes")
        said: Any = getattr(command, name) if name is not None else None
        match command.command_type:
            case enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:
                return self._scheduled(said)
            case enums.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
                return self._workflow(said.workflow_id)
            case enums.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:
                return self._workflow(said.execution.workflow_id)
            case enums.COMMAND_TYPE_RECORD_MARKER:
                return self._of_marker(said)
            case _:
                return self._own()

    def _of_event(self, event: history.HistoryEvent) -> SerializationContext:
        name = (event.WhichOneof("attributes") or "").removesuffix("_event_attributes")
        said: Any = getattr(event, f"{name}_event_attributes") if name else None
        if name == "activity_task_scheduled":
            self._activities[event.event_id] = context = self._scheduled(said)
            return context
        if name.startswith("activity_task_"):
            return self._activities.get(said.scheduled_event_id, self._own())
        if name == "start_child_workflow_execution_initiated":
            return self._workflow(said.workflow_id)
        if name.startswith("child_workflow_execution_"):
            return self._workflow(said.workflow_execution.workflow_id)
        if name == "signal_external_workflow_execution_initiated":
            return self._workflow(said.workflow_execution.workflow_id)
        if name == "marker_recorded":
            return self._of_marker(said)
        return self._own()

    def _scheduled(self, said: Any) -> SerializationContext:
        return self._activity(
            said.activity_id, said.activity_type.name, said.task_queue.name, is_local=False
        )

    def _of_marker(self, said: Any) -> SerializationContext:
        if said.marker_name != LOCAL_ACTIVITY_MARKER:
            return self._own()
        try:
            data: dict[str, Any] = json.loads(first_data(said.details, "data") or b"")
            return self._activity(
                str(data["activity_id"]),
                str(data["activity_type"]),
                self._task_queue,
                is_local=True,
            )
        except (ValueError, KeyError, TypeError):
            return self._own()
