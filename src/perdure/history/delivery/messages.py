"""The messages between runs, and what a destination answers (D-9).

Each message names its destination (`to`). An empty run id means the current run of the workflow id.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec

from perdure.core.ids import EntityKey
from perdure.history.run.start import Parent
from perdure.wire.api import history, workflowservice


class Address(NamedTuple):
    """Where a message goes."""

    namespace_id: str
    workflow_id: str
    run_id: str = ""


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """A workflow signals another one."""

    to: Address
    sender: EntityKey
    sender_event_id: int
    request: workflowservice.SignalWorkflowExecutionRequest
    child_only: bool


class RequestCancel(msgspec.Struct, frozen=True, tag="request-cancel"):
    """A workflow requests to cancel another one, or its parent close policy does."""

    to: Address
    sender: EntityKey
    request: workflowservice.RequestCancelWorkflowExecutionRequest
    sender_event_id: int = 0
    """The event with which the sender asked for it; 0: it has closed and does not wait for the outcome."""
    child_only: bool = False


class Terminate(msgspec.Struct, frozen=True, tag="terminate"):
    """The parent close policy terminates a child."""

    to: Address
    request: workflowservice.TerminateWorkflowExecutionRequest


class CreateChild(msgspec.Struct, frozen=True, tag="create-child"):
    """The first half of a child's start: it exists, and waits for its parent (S-38)."""

    to: Address
    parent: Parent
    request: workflowservice.StartWorkflowExecutionRequest


class ReleaseChild(msgspec.Struct, frozen=True, tag="release-child"):
    """The parent has recorded the start of the child that `request_id` created: it may begin."""

    to: Address
    parent: EntityKey
    request_id: str


class DiscardChild(msgspec.Struct, frozen=True, tag="discard-child"):
    """The parent cannot record the start of the child that `request_id` created: it must never begin."""

    to: Address
    parent: EntityKey
    request_id: str


class ReportClose(msgspec.Struct, frozen=True, tag="report-close"):
    """The last run of a child has closed: for its parent."""

    to: Address
    initiated_event_id: int
    """Of the parent."""
    child: EntityKey
    first_run_id: str
    closing: history.HistoryEvent


Message = (
    Signal | RequestCancel | Terminate | CreateChild | ReleaseChild | DiscardChild | ReportClose
)


class Refusal(Enum):
    """Why a message has no effect, and never will have one."""

    NOT_FOUND = "not-found"
    NO_NAMESPACE = "no-namespace"
    LIMIT = "limit"
    """The destination can take no more of these."""
    EXISTS = "exists"
    """The workflow id of the child is taken."""
    INVALID = "invalid"


class Receipt(msgspec.Struct, frozen=True):
    """What became of a message at its destination."""

    refusal: Refusal | None = None
    run_id: str = ""
    """The first run of a created child."""
