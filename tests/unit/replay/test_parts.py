"""The small pieces: cutting, seeds, flags, markers, protobuf commands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from types import ModuleType

import pytest

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay import seed
from perdure.replay.buffer import HistoryBuffer
from perdure.replay.flags import Flag, Flags
from perdure.replay.markers import patch_details, read_patch
from perdure.replay.mismatch import BadHistory, NondeterminismFound, Rule
from perdure.replay.operation_table import sent
from perdure.replay.seed import randomness_seed, siphash13, siphash13_in_python
from perdure.replay.task import WorkflowTask
from perdure.wire.api import common, enums, history, sdk, workflowservice
from tests.unit.replay.build import ALL_FLAGS, RUN, Events, payload


def sequences(events: Events, page: int = 0) -> list[list[int]]:
    """Event ids of the sequences, with the history cut into pages of ``page`` events."""
    buffer = HistoryBuffer()
    size = page or len(events)
    position = size
    buffer.load(events[:size], b"more" if size < len(events) else b"")
    result: list[list[int]] = []
    after = 0
    while True:
        while not buffer.ready(after):
            chunk = events[position : position + size]
            position += size
            buffer.add_page(chunk, b"more" if position < len(events) else b"")
        taken = buffer.take(after)
        if taken is None:
            return result
        result.append([event.event_id for event in taken[0]])
        if taken[1]:
            return result
        after = taken[0][-1].event_id


def test_a_sequence_ends_at_each_started_task() -> None:
    events = Events().start()
    timer = events.completed().timer()
    events.fired(timer).task().completed().done()
    assert sequences(events) == [[1, 2, 3], [4, 5, 6, 7, 8], [9, 10]]


def test_failed_tasks_do_not_end_a_sequence() -> None:
    events = Events().start().failed().task()
    events.completed().timer()
    assert sequences(events) == [[1, 2, 3, 4, 5, 6], [7, 8]]


def test_heartbeats_do_not_end_a_sequence() -> None:
    events = Events().start().completed().task().completed().signal().task()
    assert sequences(events) == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10]]


def test_an_update_ends_the_sequence_before_which_it_was_placed() -> None:
    events = Events().start().completed().task().completed()
    events.add("WorkflowExecutionUpdateAccepted", accepted_request_sequencing_event_id=5)
    events.signal().task()
    assert sequences(events)[:2] == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("page", range(1, 12))
def test_pages_do_not_change_the_sequences(page: int) -> None:
    events = Events().start().failed().task()
    timer = events.completed().timer()
    events.fired(timer).task().completed().task().completed().signal().task().completed().done()
    assert sequences(events, page) == sequences(events)


def test_the_seed_is_the_official_one() -> None:
    # Verified against the official core by the oracle, which compares seeds of every run.
    assert randomness_seed("af6b802e-0485-4953-9625-c46e9b2243e6") == 11426486551958639002
    assert randomness_seed("") == 3476900567878811119


def test_siphash_depends_on_every_byte() -> None:
    seen = {siphash13(bytes(n)) for n in range(40)}
    assert len(seen) == 40
    assert all(0 <= value < 2**64 for value in seen)


@pytest.mark.parametrize("size", range(40))
def test_the_compiled_siphash_is_the_one_in_python(size: int) -> None:
    data = bytes(range(255, 255 - size, -1))
    assert siphash13(data) == siphash13_in_python(data)


def test_an_interpreter_without_that_hash_computes_it_in_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def another_hash(*_: object) -> bytes:
        return bytes(8)

    run_id, expected = "af6b802e-0485-4953-9625-c46e9b2243e6", 11426486551958639002
    without = ModuleType("_imp")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "_imp", without)
        assert importlib.reload(seed).randomness_seed(run_id) == expected, "it has none"
        patch.setattr(without, "source_hash", another_hash, raising=False)
        assert importlib.reload(seed).randomness_seed(run_id) == expected, "it has another one"
    importlib.reload(seed)


def test_flags_are_written_once() -> None:
    flags = Flags(can_write=True, sdk_name="ours", sdk_version="1")
    assert not flags.may_use(Flag.ID_AND_TYPE_CHECKS, record=False)
    assert flags.may_use(Flag.ID_AND_TYPE_CHECKS, record=True)
    flags.add_lang([2])
    first, second = flags.take_metadata(), flags.take_metadata()
    assert list(first.core_used_flags) == [1, 2, 3, 4]
    assert list(first.lang_used_flags) == [2]
    assert not second.core_used_flags
    assert not second.lang_used_flags
    assert flags.may_use(Flag.ID_AND_TYPE_CHECKS, record=False)


def test_the_sdk_is_named_only_when_it_changes() -> None:
    flags = Flags(can_write=True, sdk_name="ours", sdk_version="2")
    metadata = sdk.WorkflowTaskCompletedMetadata(sdk_name="ours", sdk_version="1")
    flags.observe(history.WorkflowTaskCompletedEventAttributes(sdk_metadata=metadata))
    taken = flags.take_metadata()
    assert (taken.sdk_name, taken.sdk_version) == ("", "2")


def test_unknown_flags_do_no_harm() -> None:
    flags = Flags(can_write=True, sdk_name="", sdk_version="")
    metadata = sdk.WorkflowTaskCompletedMetadata(core_used_flags=[77], lang_used_flags=[1000])
    flags.observe(history.WorkflowTaskCompletedEventAttributes(sdk_metadata=metadata))
    assert flags.lang == {1000}
    assert not flags.may_use(Flag.NEXUS_OPERATION_CHECKS, record=False)


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b"null", b"\xff"])
def test_malformed_patch_markers_are_no_patches(data: bytes) -> None:
    events = Events()
    details = {"patch-data": common.Payloads(payloads=[common.Payload(data=data)])}
    events.add("MarkerRecorded", marker_name="core_patch", details=details)
    assert read_patch(events[0]) is None


def test_patch_markers_round_trip() -> None:
    events = Events()
    details = patch_details("ü-1", deprecated=True)
    events.add("MarkerRecorded", marker_name="core_patch", details=details)
    assert read_patch(events[0]) == ("ü-1", True)


def test_every_event_type_of_the_api_is_known() -> None:
    known = set(ev.ATTRIBUTES) | {0}
    assert known == set(enums.EventType.values())
    fields = history.HistoryEvent.DESCRIPTOR.fields_by_name
    for event_type, parent in ev.PARENT_ID_FIELD.items():
        attributes = fields[ev.ATTRIBUTES[event_type]].message_type
        assert attributes is not None
        assert parent in attributes.fields_by_name


def names(event_types: Iterable[int]) -> set[str]:
    return {ev.type_name(event_type) for event_type in event_types}


def test_command_events_are_those_that_name_the_task_that_caused_them() -> None:
    fields = history.HistoryEvent.DESCRIPTOR.fields_by_name
    naming: set[int] = set()
    for event_type, attributes in ev.ATTRIBUTES.items():
        message = fields[attributes].message_type
        assert message is not None
        if "workflow_task_completed_event_id" in message.fields_by_name:
            naming.add(event_type)
    # What became of a command names its task as well; events of updates do not.
    own = names(naming - set(ev.PARENT_ID_FIELD))
    updates = {f"WorkflowExecutionUpdate{end}" for end in ("Accepted", "Rejected", "Completed")}
    assert names(ev.COMMAND_EVENTS) == own | updates


def test_which_events_end_a_run_undo_a_task_or_may_be_ignored() -> None:
    ends = ("Completed", "Failed", "Canceled", "Terminated", "TimedOut", "ContinuedAsNew")
    assert names(ev.FINAL_EVENTS) == {f"WorkflowExecution{end}" for end in ends}
    undoing = {f"WorkflowExecution{end}" for end in ("TimedOut", "Terminated", "Canceled")}
    assert names(ev.UNSTARTS_TASK) == undoing | {"WorkflowTaskFailed", "WorkflowTaskTimedOut"}
    others = ("OptionsUpdated", "Paused", "Unpaused", "TimeSkippingTransitioned")
    assert names(ev.IGNORABLE) == {f"WorkflowExecution{each}" for each in others}


def test_what_went_wrong_is_said_wherever_it_is_shown() -> None:
    assert str(BadHistory("it ends too early", 7)) == "it ends too early"
    assert str(NondeterminismFound(Rule.NO_COMMAND)) == Rule.NO_COMMAND.value


def test_type_names_are_how_people_write_them() -> None:
    assert ev.type_name(ev.ACTIVITY_TASK_SCHEDULED) == "ActivityTaskScheduled"
    assert ev.type_name(999) == "event type 999"


def test_an_activity_command_carries_every_option() -> None:
    second = 1_000_000_000
    command = cmd.ScheduleActivity(
        seq=3,
        activity_type="charge",
        headers={"h": payload("v")},
        arguments=[payload("a"), payload("b")],
        schedule_to_close_timeout_ns=4 * second,
        schedule_to_start_timeout_ns=3 * second,
        start_to_close_timeout_ns=2 * second,
        heartbeat_timeout_ns=second // 2,
        retry_policy=common.RetryPolicy(maximum_attempts=7),
        priority=common.Priority(priority_key=2),
        summary=payload("sum"),
    )
    message = sent(command, RUN)
    attributes = message.schedule_activity_task_command_attributes
    assert (attributes.activity_id, attributes.task_queue.name) == ("3", "queue")
    assert attributes.header.fields["h"] == payload("v")
    assert len(attributes.input.payloads) == 2
    assert attributes.schedule_to_close_timeout.seconds == 4
    assert attributes.schedule_to_start_timeout.seconds == 3
    assert attributes.start_to_close_timeout.seconds == 2
    assert attributes.heartbeat_timeout.nanos == 500_000_000
    assert attributes.retry_policy.maximum_attempts == 7
    assert attributes.priority.priority_key == 2
    assert attributes.request_eager_execution
    assert attributes.use_workflow_build_id
    assert message.user_metadata.summary == payload("sum")


def test_work_for_another_queue_does_not_inherit_the_build() -> None:
    def inherits(queue: str, intent: cmd.VersioningIntent) -> bool:
        command = cmd.ScheduleActivity(
            seq=1, activity_type="a", task_queue=queue, versioning_intent=intent
        )
        message = sent(command, RUN)
        return message.schedule_activity_task_command_attributes.use_workflow_build_id

    intent = cmd.VersioningIntent
    assert inherits("queue", intent.UNSPECIFIED)
    assert not inherits("other", intent.UNSPECIFIED)
    assert inherits("other", intent.COMPATIBLE)
    assert not inherits("queue", intent.DEFAULT)


def test_a_task_is_read_from_a_poll_response() -> None:
    events = Events().start()
    response = workflowservice.PollWorkflowTaskQueueResponse(
        history=history.History(events=events),
        previous_started_event_id=0,
        started_event_id=3,
        next_page_token=b"t",
        attempt=2,
    )
    task = WorkflowTask.from_poll(response)
    assert [event.event_id for event in task.events] == [1, 2, 3]
    assert (task.started_event_id, task.next_page_token, task.attempt) == (3, b"t", 2)
    assert task.query is None


def test_a_recorded_history_counts_as_replay_up_to_an_unfinished_task() -> None:
    finished = Events().start().completed(ALL_FLAGS).done()
    task = WorkflowTask.from_history(finished)
    assert (task.previous_started_event_id, task.started_event_id) == (3, 3)
    unfinished = Events().start().completed().signal().task()
    task = WorkflowTask.from_history(unfinished)
    assert (task.previous_started_event_id, task.started_event_id) == (3, 7)
