"""Guards of the server, each with the edit that removes it. `mutations.py` shows that the simulation notices each.

A guard whose absence no world can notice does not belong here: unit tests cover it.
"""

from __future__ import annotations

from perdure.entity.entity_type import EntityType
from perdure.history.delivery import apply, settle
from perdure.history.draft import flush
from perdure.history.draft.draft import Draft
from perdure.history.entity_types import RunType
from perdure.history.message import signal
from perdure.history.run import wake
from perdure.matching.queue import TaskQueue
from perdure.server.engine import Engine
from perdure.server.frontend import history_reads, queries
from perdure.server.frontend.inline_tasks import InlineWork
from perdure.server.matching.host import MatchingHost
from perdure.server.shards.cache import EntityCache
from perdure.server.shards.committer import Committer
from perdure.server.shards.entities import Entities
from perdure.server.shards.loading import Loader
from perdure.server.shards.node_shards import NodeShards
from perdure.server.shards.outbox import Outbox
from perdure.server.shards.release import Release
from perdure.server.shards.shard import Shard
from perdure.server.shards.step import Steps
from perdure.server.shards.wakes import Wakes
from perdure.server.timers import orphans, row_sweep
from perdure.storage import sqlite_commit
from tests.simulation.edit import Edit

GUARDS: dict[str, Edit] = {
    # Durability.
    "fence": Edit(sqlite_commit, "_begin", "cursor.rowcount != 1", "False"),
    "outcome barrier": Edit(
        Entities, "durable_reply", "for group in outcome.barrier:", "for group in ():"
    ),
    "barrier of what was read": Edit(
        Steps, "perform", "Outcome(barrier_of(read), reply)", "Outcome((), reply)"
    ),
    "draft abandon": Edit(Draft, "abandon", "self.state.roll_back()", "self.state.close_draft()"),
    "request-id dedup": Edit(signal, "_seen", "return True", "return False"),
    "request-id dedup in the buffer": Edit(
        signal, "_seen", "return state.buffered.has_request(request_id)", "return False"
    ),
    "buffered-event flush": Edit(
        flush, "flush", "for item in sorted(waiting, key", "for item in sorted((), key"
    ),
    # The committer.
    "linked groups fail as well": Edit(Committer, "_fail", "while more:", "if False:"),
    "links are followed to their end": Edit(Committer, "_fail", "while more:", "if more:"),
    "waiting groups fail as well": Edit(
        Committer, "_fail", "[*self._in_flight, *self._waiting]", "[*self._in_flight]"
    ),
    "a lost fence drops its shard": Edit(
        Committer, "_drop_shards", "self._on_drop(shard, True)", "pass"
    ),
    "an unknown outcome drops its shards": Edit(
        Committer, "_unknown", "self._on_drop(shard, False)", "pass"
    ),
    "an unknown outcome is looked up": Edit(
        Committer,
        "_unknown",
        "written = await self._settle(shards, self._suspend)",
        "written = not await self._settle(shards, self._suspend)",
    ),
    "the fence counts on": Edit(Committer, "_succeed", "shard.sequence += 1", "pass"),
    "a failed group is forgotten": Edit(Release, "failed", "self._cache.drop(entry)", "pass"),
    "a failed group gives its pollers back": Edit(
        Release, "failed", "self._matcher.restore(match.poller)", "pass"
    ),
    # Inline tasks.
    "activities begin after the commit": Edit(
        InlineWork, "applied", "self._reply = reply", "self._reply = reply; self.durable()"
    ),
    "inline work is lost with its commit": Edit(Release, "failed", "_alone(work.lost)", "pass"),
    # The step.
    "an earlier wake-up stays": Edit(
        EntityType,
        "wake_bound_ns",
        "min(requested, stored_ns) if stored_ns else requested",
        "requested",
    ),
    "a fired wake-up is replaced": Edit(
        EntityType, "wake_bound_ns", "if is_wake or self", "if self"
    ),
    "mark of runs with a task in flight": Edit(
        Steps,
        "_seal",
        "in_flight = entry.type.has_task_in_flight(state)",
        "in_flight = False",
    ),
    "task-row removal": Edit(
        Steps,
        "_write",
        "write.finished_tasks = (*write.finished_tasks, *transition.finished_tasks)",
        "pass",
    ),
    "effects are written": Edit(Steps, "_write", "write.outbox = (*write.outbox, *rows)", "pass"),
    # Wake-ups.
    "a failed scan of wake-ups is repeated": Edit(
        Wakes,
        "_scan",
        "self._horizon_ns = now_ns + (DAMAGE_RETRY_NS if is_damage else RETRY_NS)\n        return",
        "return",
    ),
    "a full page of wake-ups is not all": Edit(
        Wakes, "_scan", "if len(rows) == limit:", "if False:"
    ),
    "a wake-up that failed is tried again": Edit(
        Wakes, "_fire_one", "self._push(key, self._clock.now_ns() + pause_ns)", "pass"
    ),
    "a wake-up armed while it fires": Edit(
        Wakes, "_fire_one", "heappush(self._heap, (self._armed[key], key))", "pass"
    ),
    "a taken shard is scanned": Edit(Wakes, "rescan", "self._horizon_ns = 0", "pass"),
    "deadlines that moved": Edit(
        wake,
        "next_deadline_ns",
        "if due_ns:\n            state.add_deadline(Deadline(due_ns, entry.kind, entry.key))",
        "pass",
    ),
    "deadlines that moved, fired early": Edit(
        wake, "_fire_due", "state.add_deadline(Deadline(due_ns, entry.kind, entry.key))", "pass"
    ),
    # Effects.
    "outbox recovery": Edit(Outbox, "recover", "self.push(stored)", "pass"),
    "repeated delivery": Edit(
        Outbox, "_one", "await asyncio.sleep(pause_ns / SECOND_NS)", "return"
    ),
    "delivered effects go": Edit(Outbox, "_one", "await self._finish(stored)", "pass"),
    "parent close policy, terminate": Edit(
        settle,
        "parent_closed",
        "first_execution_run_id=body.first_run_id,\n            reason",
        "reason",
    ),
    "parent close policy, cancel": Edit(
        settle,
        "parent_closed",
        "first_execution_run_id=body.first_run_id,\n        identity",
        "identity",
    ),
    "an external signal to one run": Edit(
        settle, "_signal", "execution.workflow_id, execution.run_id", "execution.workflow_id"
    ),
    "an external signal to a child": Edit(
        apply,
        "apply",
        "sender=message.sender, child_only=message.child_only",
        "sender=message.sender",
    ),
    "an external cancel request to one run": Edit(
        settle,
        "_request_cancel",
        "execution.workflow_id, execution.run_id",
        "execution.workflow_id",
    ),
    "a message that was answered": Edit(
        settle, "_signal", "if is_external_answered(state, event_id):", "if False:"
    ),
    "a child is let go": Edit(
        settle, "next_message", "ReleaseChild if recorded else DiscardChild", "DiscardChild"
    ),
    "a child is recorded": Edit(
        settle, "next_message", "ReleaseChild if recorded else DiscardChild", "ReleaseChild"
    ),
    # The cache.
    "a pending entry is not evicted": Edit(
        EntityCache, "shrink", "entry.pending is not None", "False"
    ),
    "a load of an earlier epoch": Edit(
        Loader,
        "_load",
        "stored = await self._store.load(key)",
        "stored = await self._store.load(key)\n        epoch = shard.epoch",
    ),
    "a dropped shard loses its entries": Edit(
        NodeShards, "drop", "self._cache.drop_shard(shard)", "pass"
    ),
    "row numbers of a new owner": Edit(
        Shard, "install", "self._last_task = lease.range_id << TASK_BITS", "self._last_task = 0"
    ),
    # Retention.
    "retention waits for effects": Edit(Engine, "delete", "or self.outbox.holds(key)", ""),
    "retention keeps the pointer of a newer run": Edit(
        RunType, "is_left_alone", "and neighbour.run_id == key.run_id", ""
    ),
    "retention deletes the pointer": Edit(Engine, "delete", "[entity, *left_alone]", "[entity]"),
    # Matching.
    "rows that come during a scan": Edit(
        TaskQueue, "rows_read", "|= was_unread or not complete", "|= not complete"
    ),
    "a full page of rows is not all": Edit(
        MatchingHost, "_scan", "is_complete &= len(rows) < SCAN_ROWS", "pass"
    ),
    "a taken shard's rows are read": Edit(
        MatchingHost, "shard_acquired", "self.read_again()", "pass"
    ),
    "a start that failed": Edit(
        MatchingHost, "_not_started", "self._retry_later(poll.queue, body)", "pass"
    ),
    "a start for a poller who left": Edit(
        MatchingHost, "_started", "await self._engine.give_back(body.task, reply)", "pass"
    ),
    "a hand-over to a poller who left": Edit(
        Release, "_hand_over", "self.give_back(match)", "pass"
    ),
    # Sweeps and orphans.
    "a swept row is stale": Edit(
        row_sweep.RowSweep,
        "_remove",
        "if entry.state is None or entry.type.is_stale(entry.state, task):",
        "if True:",
    ),
    "time-out of orphans": Edit(
        orphans,
        "time_out_orphans",
        "keys = await store.with_tasks_in_flight(shard_ids)",
        "keys = []",
    ),
    "deleted runs leave no retention": Edit(
        sqlite_commit,
        "_rows",
        "for statement in _DELETIONS:",
        "for statement in (*_DELETIONS[:4], *_DELETIONS[5:]):",
    ),
    "deleted runs leave no list entry": Edit(
        sqlite_commit,
        "_rows",
        "for statement in _DELETIONS:",
        "for statement in (*_DELETIONS[:5], *_DELETIONS[6:]):",
    ),
    # Reads.
    "a long poll sees one event": Edit(
        history_reads, "_wait", "seen >= token.next_event_id", "seen > token.next_event_id"
    ),
    "a query leaves a dead sticky queue": Edit(
        queries, "_ask_directly", "matching.withdraw(sticky, pending.query_id)", "pass"
    ),
}
