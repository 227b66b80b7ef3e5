"""Updates that no worker has accepted yet: memory only, from request to answer (S-16 to S-19).

Role: a delivered workflow task carries the waiting updates (`messages`), and the answers in its completion are noted
here (`answered`). Once accepted, an update is part of history and is no longer kept here.

Invariants: an update is sent again only to a worker that may not know it (another attempt, a full history). A noted
answer is valid only for readers that see the workflow task completed that brought it, so a failed commit revokes it.
A pure change of a run never touches this memory: it returns notes, and the step that writes the change takes them.
If the process dies, callers send their updates again under the same id. A decided update is kept only while a caller
waits for it; one that no worker has seen yet is kept even without a caller.
Not here: decisions (`history.update`), and waiting (`frontend/updates.py`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.history.draft.replies import CompletionReply
from perdure.history.draft.update_values import NO_UPDATES, TaskUpdates
from perdure.wire.api import failure, protocol, update

if TYPE_CHECKING:
    from collections.abc import Generator

    from perdure.core.ids import EntityKey
    from perdure.history.draft.replies import WorkflowTaskReply
    from perdure.history.state.run_state import RunState

RUNS_MAX = 10_000
"""Limit of runs with waiting updates. Beyond it, the oldest are dropped and their callers told to try again."""
BYTES_MAX = 64 * 1024 * 1024
"""Limit for the total size of their requests, with the same effect."""


class UpdateAdmitted(msgspec.Struct, frozen=True):
    """A note: the run has let this update in, and no worker has accepted it yet."""

    update_id: str
    request: update.Request
    last_started_event_id: int
    """Of the run that takes it, before this change; 0 for a new run."""


class TaskCompleted(msgspec.Struct, frozen=True):
    """A note: the workflow task with this started event was completed with these answers."""

    started_event_id: int
    reply: CompletionReply


class TaskRefused(msgspec.Struct, frozen=True):
    """A note: the completion of the workflow task with this started event could not be applied (S-20)."""

    started_event_id: int


class PendingUpdate:
    """One update. `sent_in` and `answered_in` are started event ids of workflow tasks; 0 for none."""

    __slots__ = ("answered_in", "failed_in", "failure", "request", "sent_in", "was_awaited")

    def __init__(self, request: update.Request) -> None:
        self.request = request
        self.sent_in = 0
        self.answered_in = 0
        self.failure: failure.Failure | None = None
        """The failure of a rejection."""
        self.failed_in = 0
        """The workflow task that carried the update but could not be completed (S-20)."""
        self.was_awaited = False
        """Whether a caller has ever waited for it. Before that, a caller is expected to arrive."""

    def is_answered(self, last_started_event_id: int) -> bool:
        """Whether it was answered by a workflow task that the run, as the caller sees it, has completed."""
        return 0 < self.answered_in <= last_started_event_id

    @property
    def is_settled(self) -> bool:
        """Whether a worker has answered it, as far as known now, or never will."""
        return bool(self.answered_in or self.failed_in)

    def is_waiting(self, last_started_event_id: int) -> bool:
        return not self.failed_in and not self.is_answered(last_started_event_id)


class Updates:
    """All updates of a node that wait for a worker."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._runs: OrderedDict[EntityKey, dict[str, PendingUpdate]] = OrderedDict()
        self._callers: Counter[tuple[EntityKey, str]] = Counter()
        self._bytes_max = bytes_max
        self._bytes = 0

    def __len__(self) -> int:
        return sum(len(known) for known in self._runs.values())

    def admit(
        self,
        entity: EntityKey,
        update_id: str,
        request: update.Request,
        last_started_event_id: int = 0,
    ) -> None:
        """Keep an update for the run's next workflow task. Does nothing if it already waits."""
        known = self.find(entity, update_id)
        if known is not None and known.is_waiting(last_started_event_id):
            return
        self.forget(entity, update_id)
        self._runs.setdefault(entity, {})[update_id] = PendingUpdate(request)
        self._bytes += request.ByteSize()
        while len(self._runs) > RUNS_MAX or self._bytes > self._bytes_max:
            oldest = next(iter(self._runs))
            for each in tuple(self._runs[oldest]):
                self.forget(oldest, each)

    @contextmanager
    def awaited(self, entity: EntityKey, update_id: str) -> Generator[None]:
        """Mark the update as awaited within the block, so that its outcome is kept for the caller."""
        place = entity, update_id
        self._callers[place] += 1
        known = self.find(entity, update_id)
        if known is not None:
            known.was_awaited = True
        try:
            yield
        finally:
            self._callers[place] -= 1
            if not self._callers[place]:
                del self._callers[place]
                known = self.find(entity, update_id)
                if known is not None and known.is_settled:
                    self.forget(entity, update_id)

    def find(self, entity: EntityKey, update_id: str) -> PendingUpdate | None:
        return self._runs.get(entity, {}).get(update_id)

    def forget(self, entity: EntityKey, update_id: str) -> None:
        """Remove the update, because its caller knows the outcome."""
        waiting = self._runs.get(entity)
        if waiting is None:
            return
        known = waiting.pop(update_id, None)
        if known is not None:
            self._bytes -= known.request.ByteSize()
        if not waiting:
            del self._runs[entity]

    def note(self, note: msgspec.Struct, entity: EntityKey, state: Any) -> None:
        """Take a note of a transition of `entity`, in the step that writes it.

        Args:
            note: One of the notes above.
            entity: The run.
            state: Its state after the transition.
        """
        match note:
            case UpdateAdmitted():
                self.admit(entity, note.update_id, note.request, note.last_started_event_id)
            case TaskCompleted():
                self.answered(state, note.started_event_id, note.reply)
            case TaskRefused():
                self.failed(entity, note.started_event_id)
            case _:
                raise TypeError(f"{type(note).__name__} is no note about updates")

    def count_others(self, state: RunState, update_id: str) -> int:
        """How many other updates of the run wait for a worker."""
        return sum(key != update_id for key in self._waiting(state))

    def _waiting(self, state: RunState) -> dict[str, PendingUpdate]:
        last = state.last_started_event_id
        known = self._runs.get(state.key, {})
        return {key: each for key, each in known.items() if each.is_waiting(last)}

    def messages(self, reply: WorkflowTaskReply) -> list[protocol.Message]:
        """The messages to deliver with a workflow task (S-17)."""
        if not self._runs:
            return []
        knows_earlier = reply.is_sticky and reply.attempt == 1
        found: list[protocol.Message] = []
        for update_id, pending in self._runs.get(reply.token.entity, {}).items():
            was_sent = pending.sent_in not in (0, reply.started_event_id)
            is_waiting = pending.is_waiting(reply.previous_started_event_id)
            if not is_waiting or (was_sent and knows_earlier):
                continue
            pending.sent_in = reply.started_event_id
            pending.answered_in, pending.failure = 0, None  # an earlier answer was never written
            body = AnyMessage()
            body.Pack(pending.request)
            found.append(
                protocol.Message(
                    id=f"{update_id}/request",
                    protocol_instance_id=update_id,
                    event_id=reply.started_event_id - 1,
                    body=body,
                )
            )
        return found

    def not_sent(self, entity: EntityKey, started_event_id: int) -> None:
        """The workflow task with this started event was never written, and nothing that its worker said either."""
        for pending in self._runs.get(entity, {}).values():
            if pending.sent_in == started_event_id:
                pending.sent_in = 0
            if pending.answered_in == started_event_id:
                pending.answered_in, pending.failure = 0, None

    def of_task(self, state: RunState) -> TaskUpdates:
        """The updates that the completion of the run's workflow task must know."""
        waiting = self._waiting(state) if self._runs else None
        if not waiting:
            return NO_UPDATES
        return TaskUpdates(
            sent={key: each.request for key, each in waiting.items() if each.sent_in},
            others_wait=any(not each.sent_in for each in waiting.values()),
        )

    def answered(self, state: RunState, started_event_id: int, reply: CompletionReply) -> None:
        """Note the answers of the workflow task with this started event. It is completed, but not yet durably."""
        entity = state.key
        if entity not in self._runs:
            return
        for rejection in reply.rejected_updates:
            pending = self.find(entity, rejection.update_id)
            if pending is not None:
                pending.answered_in = started_event_id
                pending.failure = rejection.failure
        for update_id, pending in tuple(self._runs.get(entity, {}).items()):
            accepted = state.updates.get(update_id)
            if accepted is None:
                continue
            pending.answered_in = pending.answered_in or started_event_id
            if accepted.accepted_event_id < started_event_id:
                self.forget(entity, update_id)  # accepted by an earlier task; no caller waits here
        self._forget_settled(entity, is_over=not state.is_running)

    def failed(self, entity: EntityKey, started_event_id: int) -> None:
        """Fail the updates carried by a workflow task whose completion could not be applied (S-20)."""
        for pending in self._runs.get(entity, {}).values():
            if pending.sent_in and not pending.answered_in:
                pending.failed_in = started_event_id
        self._forget_settled(entity)

    def _forget_settled(self, entity: EntityKey, *, is_over: bool = False) -> None:
        for update_id, pending in tuple(self._runs.get(entity, {}).items()):
            is_wanted = (entity, update_id) in self._callers or not pending.was_awaited
            if (pending.is_settled or is_over) and not is_wanted:
                self.forget(entity, update_id)
