"""Cutting histories: what one sequence holds, for histories that begin anywhere."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from perdure.replay import apply
from perdure.replay.buffer import HistoryBuffer
from perdure.replay.run import Run
from perdure.replay.task import EngineConfig, WorkflowTask
from perdure.wire.api import history, protocol, query, workflowservice
from tests.unit.replay.build import RUN, Events


def loaded(events: list[history.HistoryEvent], token: bytes = b"") -> HistoryBuffer:
    buffer = HistoryBuffer()
    buffer.load(events, token)
    return buffer


def ids(events: Iterable[history.HistoryEvent]) -> list[int]:
    return [event.event_id for event in events]


def taken(buffer: HistoryBuffer, after: int) -> tuple[list[int], bool] | None:
    found = buffer.take(after)
    return None if found is None else (ids(found[0]), found[1])


def test_a_partial_history_is_cut_after_what_is_known() -> None:
    events = Events().start().completed().signal().task().completed().signal().task()
    buffer = loaded(events[1:])
    assert (buffer.first_event_id, buffer.last_event_id) == (2, 11)
    assert ids(buffer.peek(3)) == [2, 3, 4, 5, 6, 7]
    assert taken(buffer, 3) == ([4, 5, 6, 7], False)
    assert taken(buffer, 7) == ([8, 9, 10, 11], True)
    assert buffer.empty
    assert (buffer.first_event_id, buffer.last_event_id) == (0, 0)
    assert ids(buffer.peek(11)) == []


def test_commands_before_what_is_known_do_not_end_a_heartbeat() -> None:
    events = Events().start().completed()
    events.timer()
    events.signal().task().completed().task().completed().task()
    assert ids(loaded(events).peek(8))[-1] == 14
    assert taken(loaded(events), 8) == ([9, 10, 11, 12, 13, 14], True)


def test_commands_within_a_sequence_end_it_and_a_heartbeat_does_not() -> None:
    events = Events().start().completed()
    events.timer()
    events.signal().task().completed().task().completed().task()
    buffer = loaded(events)
    assert taken(buffer, 0) == ([1, 2, 3], False)
    assert taken(buffer, 3) == ([4, 5, 6, 7, 8], False)
    assert taken(buffer, 8) == ([9, 10, 11, 12, 13, 14], True)


@pytest.mark.parametrize(
    ("has_commands", "first", "last", "continues"),
    [
        (False, 4, 6, True),
        (True, 4, 6, False),
        (False, 4, 4, False),
        (False, 5, 6, False),
        (False, 7, 8, False),
    ],
)
def test_a_heartbeat_is_a_task_without_commands_and_the_next_one(
    has_commands: bool, first: int, last: int, continues: bool
) -> None:
    events = Events().start().completed().task().completed().signal()
    run = Run(RUN, EngineConfig("ours", "1"))
    run.has_command_events = has_commands
    assert apply.continues_a_heartbeat(run, events[first - 1 : last]) is continues


def test_a_peek_does_not_bind_the_next_take() -> None:
    events = Events().start().completed().signal().task().completed().signal().task()
    buffer = loaded(events)
    assert ids(buffer.peek(0)) == [1, 2, 3]
    assert taken(buffer, 3) == ([4, 5, 6, 7], False)
    again = loaded(events[:3], b"more")
    assert ids(again.peek(0)) == [1, 2, 3]
    again.add_page(events[3:], b"")
    assert taken(again, 0) == ([1, 2, 3], False)


def test_a_page_that_repeats_events_adds_none_twice() -> None:
    events = Events().start().completed().signal().task()
    buffer = loaded(events[:3], b"more")
    buffer.add_page(events[1:5], b"more")
    assert buffer.last_event_id == 5
    buffer.add_page(events[4:], b"")
    assert taken(buffer, 0) == ([1, 2, 3], False)
    assert taken(buffer, 3) == ([4, 5, 6, 7], True)


def test_a_tail_is_added_once_after_the_last_page() -> None:
    events = Events().start().completed().signal().task()
    buffer = HistoryBuffer()
    buffer.restart(events[3:])
    assert (buffer.complete, buffer.token, buffer.empty) == (False, b"", True)
    buffer.add_page(events[:2], b"next")
    assert (buffer.complete, buffer.token, buffer.last_event_id) == (False, b"next", 2)
    buffer.add_page(events[2:5], b"")
    assert (buffer.complete, buffer.last_event_id) == (True, 7)
    buffer.add_page([], b"")
    assert buffer.last_event_id == 7


def test_a_restart_forgets_what_was_there() -> None:
    events = Events().start().completed().signal().task()
    buffer = loaded(events[3:], b"next")
    buffer.restart(events[5:])
    assert (buffer.complete, buffer.token, buffer.empty) == (False, b"", True)
    assert ids(buffer.peek(0)) == []
    buffer.add_page(events[:5], b"")
    assert taken(buffer, 0) == ([1, 2, 3], False)
    assert taken(buffer, 3) == ([4, 5, 6, 7], True)


@pytest.mark.parametrize("count", range(1, 12))
def test_ready_means_that_this_sequence_and_the_next_are_known(count: int) -> None:
    events = Events().start().completed().signal().task().completed().signal().task()
    buffer = loaded(events[:count], b"more")
    # The first ends at 3, which only 4 and 5 can tell; the second at 7, which 8 and 9 tell.
    assert buffer.ready(0) is (count >= 9)
    assert loaded(events[:count]).ready(0)


def test_after_the_end_of_a_run_no_page_is_needed() -> None:
    events = Events().start().completed().done()
    assert loaded(events, b"more").ready(0)
    assert not loaded(events[:4], b"more").ready(0)


def test_the_completion_that_lies_ahead() -> None:
    events = Events().start().completed().signal().task().completed()
    buffer = loaded(events)
    first, second = (events[at].workflow_task_completed_event_attributes for at in (3, 7))
    assert buffer.next_completed(0) == first
    assert buffer.next_completed(4) == first
    assert buffer.next_completed(5) == second
    assert buffer.next_completed(9) is None


def test_an_update_that_no_started_task_precedes_stays_with_the_last_one() -> None:
    events = Events().start().completed().task().completed()
    events.add("WorkflowExecutionUpdateAccepted", accepted_request_sequencing_event_id=3)
    events.signal().task()
    buffer = loaded(events)
    assert taken(buffer, 0) == ([1, 2, 3, 4, 5, 6], False)


def test_a_poll_response_is_read_in_full() -> None:
    response = workflowservice.PollWorkflowTaskQueueResponse(
        history=history.History(events=Events().start()),
        previous_started_event_id=1,
        started_event_id=3,
        next_page_token=b"t",
        messages=[protocol.Message(id="m")],
        query=query.WorkflowQuery(query_type="old"),
        queries={"q": query.WorkflowQuery(query_type="new")},
        attempt=2,
    )
    task = WorkflowTask.from_poll(response)
    assert ids(task.events) == [1, 2, 3]
    assert (task.previous_started_event_id, task.started_event_id) == (1, 3)
    assert (task.next_page_token, task.attempt) == (b"t", 2)
    assert [message.id for message in task.messages] == ["m"]
    assert task.query is not None
    assert task.query.query_type == "old"
    assert {name: asked.query_type for name, asked in task.queries.items()} == {"q": "new"}


def test_a_history_without_a_finished_task_has_none_before() -> None:
    task = WorkflowTask.from_history(Events().start())
    assert (task.previous_started_event_id, task.started_event_id) == (0, 3)
    task = WorkflowTask.from_history(Events().start().failed())
    assert (task.previous_started_event_id, task.started_event_id) == (0, 0)
