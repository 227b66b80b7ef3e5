"""The order of things in memory is nobody's business: maps of messages, and tables after a step that was undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.core.ids import run_key
from perdure.history import transitions
from perdure.history.draft.draft import Draft
from perdure.history.draft.transition import RunTransition
from perdure.history.draft.visible import visibility_row
from perdure.history.state.fold.evolve import evolve
from perdure.history.state.fold.marker import merged, payload_map
from perdure.history.state.run_state import RunState
from perdure.wire import events
from perdure.wire.api import common, enums, history, sdk
from tests.transcripts.script import Script

KEYS = [f"key-{number}" for number in range(100)]
KEY = run_key("n", "w", "r")


def payload(keys: list[str]) -> common.Payload:
    result = common.Payload(data=b"x")
    for key in keys:
        result.metadata[key] = key.encode()
    return result


def header(keys: list[str]) -> common.Header:
    result = common.Header()
    for key in keys:
        result.fields[key].data = key.encode()
    return result


def started(keys: list[str]) -> RunState:
    """A run whose first event was built with its maps in this order."""
    state = RunState(KEY)
    attributes = history.WorkflowExecutionStartedEventAttributes(
        header=header(keys), retry_policy=common.RetryPolicy(maximum_attempts=2)
    )
    attributes.memo.fields["m"].CopyFrom(payload(keys))
    attributes.search_attributes.indexed_fields["s"].CopyFrom(payload(keys))
    metadata = sdk.UserMetadata(summary=payload(keys))
    evolve(state, events.event(attributes, event_id=1, time_ns=1, user_metadata=metadata))
    return state


def with_activity(keys: list[str]) -> RunState:
    state = started([])
    attributes = history.ActivityTaskScheduledEventAttributes(activity_id="a", header=header(keys))
    evolve(state, events.event(attributes, event_id=5, time_ns=1))
    return state


@pytest.mark.parametrize("fold", [started, with_activity])
def test_the_order_of_a_map_does_not_reach_the_state(fold: Callable[[list[str]], RunState]) -> None:
    assert fold(KEYS).snapshot() == fold(KEYS[::-1]).snapshot()


def test_the_order_of_a_map_does_not_reach_the_lists() -> None:
    state = RunState(KEY)
    fields = {key: payload(["k"]) for key in KEYS}
    attributes = history.WorkflowExecutionStartedEventAttributes(
        memo=common.Memo(fields=fields),
        search_attributes=common.SearchAttributes(indexed_fields=fields),
    )
    evolve(state, events.event(attributes, event_id=1, time_ns=1))
    row = visibility_row(state)
    assert row.memo == attributes.memo.SerializeToString(deterministic=True)
    indexed = attributes.search_attributes.SerializeToString(deterministic=True)
    assert row.search_attributes == indexed


def test_payloads_are_kept_alike_whatever_the_order_of_their_metadata() -> None:
    one, other = payload(KEYS), payload(KEYS[::-1])
    assert payload_map({"b": one, "a": one}) == payload_map({"a": other, "b": other})
    assert merged((), {"b": one, "a": one}) == merged((), {"a": other, "b": other})
    assert [key for key, _ in merged((("c", b"1"),), {"b": one, "a": one})] == ["a", "b", "c"]


@pytest.mark.parametrize("nothing", [b"", b"null", b"[]"])
def test_a_payload_without_value_removes_its_key(nothing: bytes) -> None:
    old = (("a", b"1"), ("b", b"2"))
    assert merged(old, {"a": common.Payload(data=nothing)}) == (("b", b"2"),)
    assert merged(old, {"c": common.Payload(data=nothing)}) == old
    assert dict(merged(old, {"a": common.Payload(data=b"{}")})).keys() == {"a", "b"}


def test_a_heartbeat_that_repeats_its_details_is_not_written() -> None:
    script = Script()
    script.run(["start", "poll workflow", "complete", "  schedule a start_to_close=1h"])
    script.run(["poll activity"])
    world, token = script.world, script.activity_tokens["a"]
    request = transitions_request(KEYS)
    assert not world.commit(
        transitions.heartbeat(world.state, token, request, world.env)
    ).is_empty, "the first is"
    again = transitions.heartbeat(world.state, token, transitions_request(KEYS[::-1]), world.env)
    assert world.commit(again).is_empty


def transitions_request(keys: list[str]) -> Any:
    from perdure.history.activity.attempts import Heartbeat

    return Heartbeat(details=common.Payloads(payloads=[payload(keys)]))


PENDING = """
start
poll workflow
complete
  schedule a start_to_close=1m
  schedule b start_to_close=1m
  StartChildWorkflowExecution workflow_id=c workflow_type=Sub
  StartChildWorkflowExecution workflow_id=d workflow_type=Sub
poll activity
child-started 7 run=c1
child-started 8 run=d1
""".strip().splitlines()


class Died(Exception):
    """Stands for any error within a step."""


@pytest.mark.parametrize("step", ["done a result", "child-closed 7 Completed"])
def test_describe_shows_what_is_pending_in_the_order_of_its_beginning(step: str) -> None:
    script = Script()
    script.run(list(PENDING))

    def die(draft: Draft, reply: object = None) -> RunTransition:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft, "done", die)
        with pytest.raises(Died):
            script.run([step])
    shown = transitions.describe(script.world.state, script.world.env)
    assert [each.activity_id for each in shown.pending_activities] == ["a", "b"]
    assert [each.workflow_id for each in shown.pending_children] == ["c", "d"]
    assert shown.pending_activities[0].state == enums.PENDING_ACTIVITY_STATE_STARTED
