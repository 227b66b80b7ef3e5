"""All messages between owners: values, each with the type of its answer.

An owner is addressed by a shard: that of an entity, or that of a task queue (`Owners.shard_of`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from perdure.core.ids import EntityKey, QueueKey, TaskRowId
from perdure.entity.transition import Task
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history.delivery.messages import Message as RunMessage
from perdure.history.delivery.messages import Receipt
from perdure.history.draft.replies import ActivityTaskReply, WorkflowTaskReply
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.pending.queries import QueryTask

TaskReply = WorkflowTaskReply | ActivityTaskReply


class CallRpc(msgspec.Struct, frozen=True, tag="call-rpc"):
    """To the owner that the routing of an RPC names: answer the RPC. The answer is the encoded response."""

    answer: ClassVar[Any] = bytes
    path: str
    request: bytes
    metadata: dict[str, Any]
    """Headers: text or bytes."""
    timeout_ns: int


class DeliverMessage(msgspec.Struct, frozen=True, tag="deliver-message"):
    """To the owner of a run: a message from another run."""

    answer: ClassVar[Any] = Receipt
    message: RunMessage


# To the owner of a task queue.


class OfferTask(msgspec.Struct, frozen=True, tag="offer-task"):
    """A task waits for a poller of `queue`, which differs from its own when that is a sticky one without worker."""

    answer: ClassVar[Any] = None
    queue: QueueKey
    task: Task
    row: TaskRowId | None


class OfferQuery(msgspec.Struct, frozen=True, tag="offer-query"):
    """A query without workflow task waits for a poller of `queue`."""

    answer: ClassVar[Any] = None
    queue: QueueKey
    query: QueryTask


class WithdrawQuery(msgspec.Struct, frozen=True, tag="withdraw-query"):
    """The caller of the query has gone, or the query was sent elsewhere."""

    answer: ClassVar[Any] = None
    queue: QueueKey
    query_id: str


class IsServed(msgspec.Struct, frozen=True, tag="is-served"):
    """Whether the queue is polled now or was polled recently."""

    answer: ClassVar[Any] = bool
    queue: QueueKey


class ShardAcquired(msgspec.Struct, frozen=True, tag="shard-acquired"):
    """To all: the shard has been acquired, and offers of its tasks may have been lost. Read its rows again."""

    answer: ClassVar[Any] = None
    shard_id: int


# From the owner of a task queue to the owner of a run.


class StartTask(msgspec.Struct, frozen=True, tag="start-task"):
    """A poller takes this task. A `row` of None asks for a redelivery."""

    answer: ClassVar[Any] = WorkflowTaskReply | ActivityTaskReply | StaleTask
    task: Task
    row: TaskRowId | None
    poll: PollInfo


class GiveBackTask(msgspec.Struct, frozen=True, tag="give-back-task"):
    """The poller for which this task was started has gone (D-46)."""

    answer: ClassVar[Any] = None
    task: Task
    reply: TaskReply


class LeaveStickyQueue(msgspec.Struct, frozen=True, tag="unstick-task"):
    """The queue of this task has no pollers: if it is a sticky one, the run moves the task (S-11)."""

    answer: ClassVar[Any] = None
    task: Task
    row: TaskRowId


class WriteWorkflowTask(msgspec.Struct, frozen=True, tag="write-workflow-task"):
    """A workflow task was started: write the response of the poll, with history, queries and updates."""

    answer: ClassVar[Any] = bytes
    reply: WorkflowTaskReply


class WriteQueryTask(msgspec.Struct, frozen=True, tag="write-query-task"):
    """A poller takes this query: write the response of the poll. Empty if the query's caller no longer waits."""

    answer: ClassVar[Any] = bytes
    query: QueryTask
    is_sticky: bool


class GiveBackQuery(msgspec.Struct, frozen=True, tag="give-back-query"):
    """The poller that took this query from `queue` has gone."""

    answer: ClassVar[Any] = None
    queue: QueueKey
    query: QueryTask


# Namespaces.


class WriteNamespace(msgspec.Struct, frozen=True, tag="write-namespace"):
    """To the owner of the namespace's shard: store it."""

    answer: ClassVar[Any] = None
    fact: NamespaceFact


class NamespaceWritten(msgspec.Struct, frozen=True, tag="namespace-written"):
    """To all: the namespace is durable."""

    answer: ClassVar[Any] = None
    fact: NamespaceFact


Message = (
    CallRpc
    | DeliverMessage
    | OfferTask
    | OfferQuery
    | WithdrawQuery
    | IsServed
    | ShardAcquired
    | StartTask
    | GiveBackTask
    | LeaveStickyQueue
    | WriteWorkflowTask
    | WriteQueryTask
    | GiveBackQuery
    | WriteNamespace
    | NamespaceWritten
)

Place = EntityKey | QueueKey
"""What is owned: an entity, or a task queue."""
