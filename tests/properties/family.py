"""What must be true of parents, children, senders and receivers once every effect has arrived (S-38, D-9)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from perdure.core.ids import EntityKey
from perdure.history.child.command import is_start_buffered
from perdure.history.draft.flush import is_ending
from perdure.history.message.cancel import is_cancel_requested
from perdure.history.workflow_task.phase import AwaitingParent, phase_of
from perdure.wire.api import enums, history
from perdure.wire.events import attributes_of
from tests.properties.universe import RunWorld, Universe

_ENDS_OF_CHILD = {
    f"child_workflow_execution_{end}"
    for end in ("completed", "failed", "canceled", "timed_out", "terminated")
} | {"start_child_workflow_execution_failed"}
_ENDS_OF_SIGNAL = {
    "external_workflow_execution_signaled",
    "signal_external_workflow_execution_failed",
}
_ENDS_OF_CANCEL = {
    "external_workflow_execution_cancel_requested",
    "request_cancel_external_workflow_execution_failed",
}
DISCARDED = "the parent closed before it recorded the start of this child"


def check_family(universe: Universe) -> None:
    """To be called when the outbox is empty."""
    for world in universe.worlds.values():
        _history_is_sound(world)
    for world in universe.running():
        _nothing_is_on_its_way(universe, world)
    for world in universe.worlds.values():
        _child_is_known(universe, world)
        _children_follow_their_parent(universe, world)
        _signals_arrived(universe, world)
        _only_children(universe, world)


def kinds(world: RunWorld) -> list[tuple[str, Any]]:
    """(short name, attributes) of the run's events, those in the buffer included."""
    return [(_kind(event), attributes_of(event)) for event in all_events(world)]


def all_events(world: RunWorld) -> list[history.HistoryEvent]:
    waiting = [
        history.HistoryEvent.FromString(item.event) for item in world.state.buffered.values()
    ]
    return [*world.history.events, *waiting]


def _kind(event: history.HistoryEvent) -> str:
    return (event.WhichOneof("attributes") or "").removesuffix("_event_attributes")


def _history_is_sound(world: RunWorld) -> None:
    """A step begins once and ends once, in this order, and a closed run is silent."""
    seen = Counter[tuple[str, Any]]()
    for name, said in kinds(world):
        assert not seen["closed", 0], f"{name} in a closed run"
        if name == "child_workflow_execution_started":
            assert not seen["child ended", said.initiated_event_id], "started after its end"
            seen["child started", said.initiated_event_id] += 1
        elif name in _ENDS_OF_CHILD:
            seen["child ended", said.initiated_event_id] += 1
        elif name in _ENDS_OF_SIGNAL:
            seen["signal ended", said.initiated_event_id] += 1
        elif name in _ENDS_OF_CANCEL:
            seen["cancel ended", said.initiated_event_id] += 1
        elif name == "workflow_execution_update_accepted":
            seen["update accepted", said.protocol_instance_id] += 1
        elif name == "workflow_execution_update_completed":
            assert seen["update accepted", said.meta.update_id], "completed before accepted"
            seen["update completed", said.meta.update_id] += 1
        elif name == "workflow_execution_signaled" and said.request_id:
            seen["signal", said.request_id] += 1
    assert all(count == 1 for count in seen.values()), seen
    if not world.state.is_running:
        assert world.state.close_event_id == len(world.history.events), "events after the end"


def _nothing_is_on_its_way(universe: Universe, world: RunWorld) -> None:
    state = world.state
    waits = isinstance(phase_of(state), AwaitingParent)
    assert not waits, f"{state.key} waits for a parent forever"
    for event_id in (*state.external_signals, *state.external_cancels):
        assert is_ending(state, event_id), "it waits for an answer forever"
    for event_id, child in state.children.items():
        if is_ending(state, event_id):
            continue
        assert child.started_event_id or is_start_buffered(state, event_id), "never started"
        assert any(
            other.state.info.parent == state.key
            and other.state.info.parent_initiated_event_id == event_id
            for other in universe.running()
        ), f"{state.key} waits for the end of a child that has ended"


def _child_is_known(universe: Universe, world: RunWorld) -> None:
    """A child that has begun is one whose parent recorded its start, or an heir of one."""
    info = world.state.info
    if info.parent is None or info.continued_run_id or len(world.history.events) == 1:
        return
    parent = universe.find(info.parent.name, info.parent.run_id)
    recorded = [
        said.workflow_execution.run_id
        for name, said in kinds(parent)
        if name == "child_workflow_execution_started"
        and said.initiated_event_id == info.parent_initiated_event_id
    ]
    has_worked = world.state.completed_workflow_tasks > 0
    assert recorded == [world.state.key.run_id] or not has_worked


def _children_follow_their_parent(universe: Universe, world: RunWorld) -> None:
    if world.state.is_running:
        return
    policies = {
        event.event_id: event.start_child_workflow_execution_initiated_event_attributes
        for event in world.history.events
        if _kind(event) == "start_child_workflow_execution_initiated"
    }
    for name, said in kinds(world):
        if name != "child_workflow_execution_started":
            continue
        policy = policies[said.initiated_event_id].parent_close_policy
        chain = _chain(universe, said.workflow_execution.run_id)
        alive = [key for key in chain if universe.worlds[key.run_id].state.is_running]
        if policy == enums.PARENT_CLOSE_POLICY_TERMINATE:
            assert not alive, f"{alive} outlive their parent"
        elif policy == enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL and len(chain) == 1 and alive:
            assert is_cancel_requested(universe.worlds[alive[0].run_id].state)


def _chain(universe: Universe, first_run_id: str) -> list[EntityKey]:
    return [
        world.state.key
        for world in universe.worlds.values()
        if world.state.info.first_run_id == first_run_id
    ]


def _signals_arrived(universe: Universe, world: RunWorld) -> None:
    """A signal arrived where its sender was told so, and else did not.

    With one exception, which the reference server has as well: when the receiver ended and another run of its id began
    between the delivery and its repetition after a death, the sender learns how the repetition fared.
    """
    for name, said in kinds(world):
        if name not in _ENDS_OF_SIGNAL:
            continue
        request_id = f"{world.state.key.run_id}:{said.initiated_event_id}"
        arrived = [
            other.state.key
            for other in universe.worlds.values()
            if request_id in other.state.request_ids
            or any(item.request_id == request_id for item in other.state.buffered.values())
        ]
        if name == "external_workflow_execution_signaled":
            assert arrived, "the sender was told so"
        else:
            assert all(universe.pointers[key.name].run_id != key.run_id for key in arrived)


def _only_children(universe: Universe, world: RunWorld) -> None:
    """What a workflow meant for a child of its own reached no other."""
    for event in all_events(world):
        said: Any = attributes_of(event)
        if event.event_type not in (
            enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
            enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
        ) or not said.HasField("external_workflow_execution"):
            continue
        sender = universe.worlds[said.external_workflow_execution.run_id]
        event_id = getattr(said, "external_initiated_event_id", 0)
        if not event_id and getattr(said, "request_id", ""):
            event_id = int(said.request_id.rpartition(":")[2])
        if event_id:
            asked: Any = attributes_of(sender.history.events[event_id - 1])
            is_own = world.state.info.parent == sender.state.key
            assert is_own or not asked.child_workflow_only
