"""Effects reach the run that they were meant for. The sender's history says which that is.

a child            is the run that the parent's Started event names; no other run claims to be it
a close policy     reaches the chain of runs that the child began, and no other run with its workflow id
a signal, a cancel reaches the named run or, without a run id, one that had the workflow id at some time
a child's end      is the end of the last run of its chain
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from perdure.core.units import MINUTE_NS
from perdure.history.delivery.settle import PARENT_CLOSED_REASON
from perdure.wire.api import enums, history
from tests.simulation.checks import CHILD_CLOSE, WORKFLOW_TASK, initiated_event_id
from tests.simulation.violations import Kind, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perdure.core.ids import EntityKey
    from tests.simulation.archive import Histories

EventType = enums.EventType
Policy = enums.ParentClosePolicy

_ENDING_POLICIES = {
    Policy.PARENT_CLOSE_POLICY_TERMINATE,
    Policy.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
}
OUTLIVES_NS = 3 * MINUTE_NS
"""A child that runs this long after its parent closed was never told to end."""
SENT = EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
_ENDS = {
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
}


class Child(NamedTuple):
    """A child, as its parent's history describes it."""

    parent: EntityKey
    initiated_event_id: int
    policy: int
    run_id: str
    """The first run; empty when the parent's history has no start."""
    was_refused: bool
    end: history.HistoryEvent | None


def check(histories: Histories, meant: Mapping[str, str]) -> None:
    """Everything that was sent reached its run, and no other run.

    Args:
        histories: The histories of all runs.
        meant: Acknowledged signals of users to a named run: signal name -> run id.

    Raises:
        Violation: Something did not arrive, or reached another run.
    """
    _Check(histories).run(meant)


class _Check:
    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._by_run = {key.run_id: key for key in histories}
        self._children = {
            (child.parent.run_id, child.initiated_event_id): child
            for key, events in histories.items()
            for child in _children(key, events)
        }
        self._heard: defaultdict[str, list[EntityKey]] = defaultdict(list)
        self._sent: Counter[str] = Counter()
        """How often workflows sent a signal of this name. Only a unique signal can be followed."""
        for key, events in histories.items():
            for event in events:
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                    name = event.workflow_execution_signaled_event_attributes.signal_name
                    self._heard[name].append(key)
                elif event.event_type == SENT:
                    sent = event.signal_external_workflow_execution_initiated_event_attributes
                    self._sent[sent.signal_name] += 1

    def run(self, meant: Mapping[str, str]) -> None:
        for name, run_id in meant.items():
            heard = [key.run_id for key in self._heard[name]]
            require(heard == [run_id], Kind.WRONG_RUN, f"signal {name} of {run_id} is in {heard}")
        for key in self._histories:
            self._check_descent(key)
            self._check_end(key)
            self._check_cancel_requests(key)
            self._check_signals(key)
        for child in self._children.values():
            self._check_child(child)

    def _first(self, key: EntityKey) -> history.WorkflowExecutionStartedEventAttributes:
        return self._histories[key][0].workflow_execution_started_event_attributes

    def _child_of(self, key: EntityKey) -> Child | None:
        """The entry for this run's chain in its parent's history; None when it has no parent."""
        said = self._first(key)
        if not said.HasField("parent_workflow_execution"):
            return None
        place = said.parent_workflow_execution.run_id, said.parent_initiated_event_id
        child = self._children.get(place)
        require(
            child is not None, Kind.WRONG_RUN, f"{_named(key)} has a parent that does not exist"
        )
        return child

    def _last(self, run_id: str) -> EntityKey:
        """The last run of the chain that this run begins."""
        key = self._by_run[run_id]
        closing = self._histories[key][-1]
        if closing.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            said = closing.workflow_execution_continued_as_new_event_attributes
            return self._last(said.new_execution_run_id)
        return key

    def _check_descent(self, key: EntityKey) -> None:
        """The parent that a run names did start it."""
        child = self._child_of(key)
        if child is None:
            return
        if child.was_refused or not child.run_id:
            # It was created, but it or its parent ended before the start was recorded: it must never run.
            began = any(event.event_type in WORKFLOW_TASK for event in self._histories[key])
            require(
                not began,
                Kind.WRONG_RUN,
                f"{_named(key)} ran, and its parent has not recorded it",
            )
        first = self._first(key).first_execution_run_id
        require(
            child.run_id in ("", first),
            Kind.WRONG_RUN,
            f"{_named(key)} claims to be the child {child.run_id}",
        )

    def _check_end(self, key: EntityKey) -> None:
        """The parent close policy terminates only children whose policy says so."""
        said = self._histories[key][-1].workflow_execution_terminated_event_attributes
        if said.reason != PARENT_CLOSED_REASON:
            return
        child = self._child_of(key)
        is_meant = (
            child is not None
            and child.policy == Policy.PARENT_CLOSE_POLICY_TERMINATE
            and child.run_id == self._first(key).first_execution_run_id
        )
        require(is_meant, Kind.WRONG_RUN, f"{_named(key)} was terminated in place of a child")

    def _check_cancel_requests(self, key: EntityKey) -> None:
        for event in self._histories[key]:
            if event.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
                continue
            said = event.workflow_execution_cancel_requested_event_attributes
            if not said.HasField("external_workflow_execution"):
                continue
            if said.external_initiated_event_id:
                sender = self._by_run[said.external_workflow_execution.run_id]
                asked = self._histories[sender][said.external_initiated_event_id - 1]
                of = asked.request_cancel_external_workflow_execution_initiated_event_attributes
                child_only, target = of.child_workflow_only, of.workflow_execution
                self._is_target(key, sender, target.workflow_id, target.run_id, child_only)
                continue
            child = self._child_of(key)
            is_meant = (
                child is not None
                and child.policy == Policy.PARENT_CLOSE_POLICY_REQUEST_CANCEL
                and child.parent.run_id == said.external_workflow_execution.run_id
            )
            require(is_meant, Kind.WRONG_RUN, f"{_named(key)} was canceled in place of a child")

    def _is_target(
        self, key: EntityKey, sender: EntityKey, name: str, run_id: str, child_only: bool
    ) -> None:
        """This run is a valid target for a message from `sender` to a workflow id and run."""
        require(
            key.name == name and run_id in ("", key.run_id),
            Kind.WRONG_RUN,
            f"{_named(key)} was reached in place of {name} ({run_id})",
        )
        if child_only:
            child = self._child_of(key)
            require(
                child is not None and child.parent == sender,
                Kind.WRONG_RUN,
                f"{_named(key)} was reached in place of a child of {sender.name}",
            )

    def _check_signals(self, key: EntityKey) -> None:
        """A signal that was sent is in the right run, and a signal that failed is in none."""
        events = self._histories[key]
        outcomes: dict[int, history.HistoryEvent] = {}
        for event in events:
            if event.event_type == EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:
                said = event.external_workflow_execution_signaled_event_attributes
                outcomes[said.initiated_event_id] = event
            if event.event_type == EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
                failed = event.signal_external_workflow_execution_failed_event_attributes
                outcomes[failed.initiated_event_id] = event
        for event in events:
            said = event.signal_external_workflow_execution_initiated_event_attributes
            if self._sent[said.signal_name] == 1:
                self._check_signal(key, event, outcomes.get(event.event_id))

    def _check_signal(
        self, sender: EntityKey, asked: history.HistoryEvent, outcome: history.HistoryEvent | None
    ) -> None:
        said = asked.signal_external_workflow_execution_initiated_event_attributes
        heard = self._heard[said.signal_name]
        for key in heard:
            to = said.workflow_execution
            self._is_target(key, sender, to.workflow_id, to.run_id, said.child_workflow_only)
        if outcome is None:
            return
        arrived = outcome.event_type == EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED
        where = [_named(key) for key in heard]
        words = f"signal {said.signal_name}, {'sent' if arrived else 'failed'}, is in {where}"
        # Without a run id it may reach two runs: the first one closed, and the node died before the sender recorded it.
        require(len(set(where)) == len(where), Kind.TWICE, words)
        require(bool(where) == arrived, Kind.LOST if arrived else Kind.WRONG_RUN, words)

    def _check_child(self, child: Child) -> None:
        if not child.run_id:
            return
        require(
            child.run_id in self._by_run,
            Kind.LOST,
            f"child {child.run_id} of {child.parent.name} is nowhere",
        )
        last = self._last(child.run_id)
        closing = self._histories[last][-1].event_type
        if child.end is not None:
            require(
                _ENDS[child.end.event_type] == closing,
                Kind.WRONG_RUN,
                f"{child.parent.name} was told {EventType.Name(child.end.event_type)} of"
                f" {_named(last)}, which ended with {EventType.Name(closing)}",
            )
        elif child.policy in _ENDING_POLICIES:
            parted = self._histories[child.parent][-1].event_time.ToNanoseconds()
            outlived_ns = self._histories[last][-1].event_time.ToNanoseconds() - parted
            require(
                outlived_ns < OUTLIVES_NS,
                Kind.WRONG_RUN,
                f"{_named(last)} was never told that its parent {child.parent.name} has closed",
            )


def _children(key: EntityKey, events: Sequence[history.HistoryEvent]) -> list[Child]:
    asked: dict[int, int] = {}
    runs: dict[int, str] = {}
    ends: dict[int, history.HistoryEvent] = {}
    refused: set[int] = set()
    for event in events:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            said = event.start_child_workflow_execution_initiated_event_attributes
            asked[event.event_id] = said.parent_close_policy
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            started = event.child_workflow_execution_started_event_attributes
            runs[started.initiated_event_id] = started.workflow_execution.run_id
        elif kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
            failed = event.start_child_workflow_execution_failed_event_attributes
            refused.add(failed.initiated_event_id)
        elif kind in CHILD_CLOSE:
            ends[initiated_event_id(event)] = event
    return [
        Child(key, step, policy, runs.get(step, ""), step in refused, ends.get(step))
        for step, policy in asked.items()
    ]


def _named(key: EntityKey) -> str:
    return f"{key.name} ({key.run_id})"
