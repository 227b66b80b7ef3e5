"""The input and output of the engine: workflow tasks, needs, completions.

Invariants: a `WorkflowTask` is the engine's view of one poll response (gRPC or embedded) or of a
recorded history; a `Completion` is everything the worker puts into the answer apart from what
only the worker knows (token, identity, sticky attributes, deployment options).

What is not here: RPCs, task tokens, and how many history pages one request returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from perdure.replay import events as ev
from perdure.replay.jobs import DeploymentVersion

if TYPE_CHECKING:
    from perdure.wire.api import command, common, history, protocol, sdk, workflowservice
    from perdure.wire.api import failure as failures
    from perdure.wire.api import query as queries_api


class RunInfo(msgspec.Struct, frozen=True):
    """Which run this engine drives, and the queue its worker polls (for inherited defaults)."""

    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str


class EngineConfig(msgspec.Struct, frozen=True):
    """What the worker is: reported in completions, and the version of work that is not replayed.

    `record_sdk_metadata` is the server's `sdk_metadata` capability: without it no flag may be
    written, and none is assumed on replay.
    """

    sdk_name: str = "perdure-python"
    sdk_version: str = ""
    record_sdk_metadata: bool = True
    deployment_version: DeploymentVersion | None = None


class WorkflowTask(msgspec.Struct, frozen=True):
    """One workflow task as the server handed it out.

    `events` is the first page and `next_page_token` the rest; `started_event_id` is 0 for a
    legacy query task (`query` set). Only one of `query` and `queries` is used.
    """

    events: Sequence[history.HistoryEvent]
    previous_started_event_id: int
    started_event_id: int
    next_page_token: bytes = b""
    messages: Sequence[protocol.Message] = ()
    query: queries_api.WorkflowQuery | None = None
    queries: Mapping[str, queries_api.WorkflowQuery] = {}
    attempt: int = 1

    @staticmethod
    def from_poll(response: workflowservice.PollWorkflowTaskQueueResponse) -> WorkflowTask:
        """The engine's view of a poll response (also of a task inlined in a completion's reply)."""
        return WorkflowTask(
            events=response.history.events,
            previous_started_event_id=response.previous_started_event_id,
            started_event_id=response.started_event_id,
            next_page_token=response.next_page_token,
            messages=response.messages,
            query=response.query if response.HasField("query") else None,
            queries=response.queries,
            attempt=response.attempt,
        )

    @staticmethod
    def from_history(events: Sequence[history.HistoryEvent]) -> WorkflowTask:
        """A task that replays a recorded history, complete or not.

        A history that ends in a started workflow task replays up to that task, which then counts as
        new; any other is replayed to its end.
        """
        previous = started = 0
        last = len(events) - 1
        for index, event in enumerate(events):
            if event.event_type != ev.WORKFLOW_TASK_STARTED:
                continue
            if index == last:
                return WorkflowTask(events, started, event.event_id)
            if events[index + 1].event_type == ev.WORKFLOW_TASK_COMPLETED:
                previous = started = event.event_id
        return WorkflowTask(events, previous, started)


class NeedPage(msgspec.Struct, frozen=True):
    """The engine cannot continue before `feed_page`: fetch GetWorkflowExecutionHistory.

    `token` is the next page's token, or empty to begin with the run's first event (a sticky task
    reached an engine that does not have the run's earlier events).
    """

    token: bytes


class Completion(msgspec.Struct, frozen=True):
    """Answer for RespondWorkflowTaskCompleted."""

    commands: Sequence[command.Command]
    messages: Sequence[protocol.Message]
    query_results: Mapping[str, queries_api.WorkflowQueryResult]
    sdk_metadata: sdk.WorkflowTaskCompletedMetadata
    versioning_behavior: int
    force_create_new_workflow_task: bool
    is_terminal: bool
    """Whether the last command closes the run."""


class QueryAnswer(msgspec.Struct, frozen=True):
    """Answer for RespondQueryTaskCompleted: exactly one of `result` and `failure`."""

    result: common.Payload | None
    failure: failures.Failure | None


class Fatal(msgspec.Struct, frozen=True):
    """The history or the task itself makes no sense: a bug of the server or a damaged file.

    The run must be evicted; `event_id` is 0 when no single event is to blame.
    """

    message: str
    event_id: int = 0


Answer: TypeAlias = Completion | QueryAnswer
