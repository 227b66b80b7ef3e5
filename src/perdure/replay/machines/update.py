"""Updates: a request arrives as a message, answers leave as messages ordered by commands (R-47).

A rejection is only a message: history keeps no trace of it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.jobs import DoUpdate, ordered_map
from perdure.replay.machines.base import Host, Machine, Table
from perdure.replay.mismatch import BadHistory
from perdure.wire.api import common, protocol, update

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.api import history


class UpdateRequest:
    """An update request with its place in history."""

    __slots__ = ("instance_id", "message_id", "request", "sequencing_event_id")

    def __init__(
        self,
        message_id: str,
        instance_id: str,
        sequencing_event_id: int,
        request: update.Request,
    ) -> None:
        self.message_id = message_id
        self.instance_id = instance_id
        self.sequencing_event_id = sequencing_event_id
        self.request = request

    @staticmethod
    def from_message(message: protocol.Message) -> UpdateRequest:
        """From a message of the workflow task (S-17)."""
        request = update.Request()
        if not message.body.Unpack(request):
            raise BadHistory(
                f"message {message.id} is not an update request: {message.body.type_url}"
            )
        if not message.HasField("event_id"):
            raise BadHistory(f"update request {message.id} is not sequenced by an event")
        return UpdateRequest(message.id, message.protocol_instance_id, message.event_id, request)

    @staticmethod
    def from_accepted(event: history.HistoryEvent) -> UpdateRequest:
        """From the event that recorded its acceptance: the request as it must have been."""
        attributes = event.workflow_execution_update_accepted_event_attributes
        if not attributes.HasField("accepted_request"):
            raise BadHistory(
                "WorkflowExecutionUpdateAccepted carries no request, and no UpdateAdmitted came before",
                event.event_id,
            )
        return UpdateRequest(
            attributes.accepted_request_message_id,
            attributes.protocol_instance_id,
            attributes.accepted_request_sequencing_event_id,
            attributes.accepted_request,
        )

    @staticmethod
    def from_admitted(event: history.HistoryEvent) -> UpdateRequest:
        """From a durable admission, written by a reset (S-18)."""
        request = event.workflow_execution_update_admitted_event_attributes.request
        update_id = request.meta.update_id
        return UpdateRequest(f"{update_id}/request", update_id, event.event_id, request)


class State(enum.IntEnum):
    REQUESTED = 0
    ACCEPTED = 1
    ACCEPT_RECORDED = 2
    ANSWERED_EARLY = 3
    """Completed before the acceptance was recorded: both commands are in the queue."""
    ANSWERED = 4
    CLOSED = 5


class UpdateMachine(Machine):
    __slots__ = ("update_request",)

    kind: ClassVar[str] = "update"
    settled: ClassVar = frozenset({State.CLOSED})
    over: ClassVar = frozenset({State.CLOSED})

    def __init__(self, request: UpdateRequest) -> None:
        super().__init__(None, State.REQUESTED)
        self.update_request = request

    def job(self, *, run_validator: bool) -> DoUpdate:
        """What user code is asked to do."""
        request = self.update_request.request
        return DoUpdate(
            id=request.meta.update_id,
            protocol_instance_id=self.update_request.instance_id,
            name=request.input.name,
            input=request.input.args.payloads,
            headers=ordered_map(request.input.header.fields),
            identity=request.meta.identity,
            run_validator=run_validator,
        )

    def respond(self, command: cmd.UpdateResponse, host: Host) -> bool:
        """User code answered; False when that answer is not possible now."""
        response = command.response
        if isinstance(response, cmd.UpdateAccepted):
            if self.state != State.REQUESTED:
                return False
            self.state = State.ACCEPTED
            message_id = self._message("accept", self._acceptance(), host)
            self._send(cmd.SendAcceptance, message_id, command, host)
            return True
        if self.state == State.REQUESTED and isinstance(response, cmd.UpdateRejected):
            self.state = State.CLOSED
            self._message("reject", self._rejection(response), host)
            return True
        if self.state not in {State.ACCEPTED, State.ACCEPT_RECORDED}:
            return False
        self.state = State.ANSWERED_EARLY if self.state == State.ACCEPTED else State.ANSWERED
        message_id = self._message("complete", self._outcome(response), host)
        self._send(cmd.SendOutcome, message_id, command, host)
        return True

    def _acceptance(self) -> update.Acceptance:
        request = self.update_request
        return update.Acceptance(
            accepted_request_message_id=request.message_id,
            accepted_request_sequencing_event_id=request.sequencing_event_id,
            accepted_request=request.request,
        )

    def _rejection(self, response: cmd.UpdateRejected) -> update.Rejection:
        request = self.update_request
        return update.Rejection(
            rejected_request_message_id=request.message_id,
            rejected_request_sequencing_event_id=request.sequencing_event_id,
            rejected_request=request.request,
            failure=response.failure,
        )

    def _outcome(self, response: cmd.UpdateRejected | cmd.UpdateCompleted) -> update.Response:
        meta = self.update_request.request.meta
        if isinstance(response, cmd.UpdateRejected):
            return update.Response(meta=meta, outcome=update.Outcome(failure=response.failure))
        payloads = [] if response.result is None else [response.result]
        return update.Response(
            meta=meta, outcome=update.Outcome(success=common.Payloads(payloads=payloads))
        )

    def _message(self, step: str, body: Message, host: Host) -> str:
        message = protocol.Message(
            id=f"{self.update_request.message_id}/{step}",
            protocol_instance_id=self.update_request.instance_id,
        )
        message.body.Pack(body)
        host.send_message(message)
        return message.id

    def _send(
        self,
        kind: type[cmd.SendAcceptance | cmd.SendOutcome],
        message_id: str,
        command: cmd.UpdateResponse,
        host: Host,
    ) -> None:
        host.issue(
            self,
            kind(
                message_id=message_id,
                site=command.site,
                event_group_markers=command.event_group_markers,
            ),
        )

    def _accept_recorded(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.ACCEPT_RECORDED if self.state == State.ACCEPTED else State.ANSWERED

    def _completed(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.CLOSED

    table: ClassVar[Table] = {
        (State.ACCEPTED, ev.UPDATE_ACCEPTED): _accept_recorded,
        (State.ANSWERED_EARLY, ev.UPDATE_ACCEPTED): _accept_recorded,
        (State.ANSWERED, ev.UPDATE_COMPLETED): _completed,
    }
