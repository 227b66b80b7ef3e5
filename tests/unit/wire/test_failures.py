"""Failures within bounds, wherever in a message they are: first levels, a marker, and the root cause."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from perdure.wire import failures as module
from perdure.wire.api import command, common, failure, query, update, workflowservice
from perdure.wire.failures import (
    LEVELS_MAX,
    MARKER_TYPE,
    TEXTS_BYTES_MAX,
    bound,
    cut_causes,
    head,
    headed,
    is_too_deep,
    with_bounded_failures,
)


def chain(levels: int) -> failure.Failure:
    """A failure of so many levels, which say how deep they are."""
    top = place = failure.Failure(message="0")
    for level in range(1, levels):
        place = place.cause
        place.message = str(level)
        place.application_failure_info.type = f"T{level}"
    return top


def messages(top: failure.Failure) -> list[str]:
    return [
        "…" if level.application_failure_info.type == MARKER_TYPE else level.message
        for level in module._levels(top)
    ]


def numbers(levels: int) -> list[str]:
    return [str(level) for level in range(levels)]


@pytest.mark.parametrize("levels", [1, 2, LEVELS_MAX - 1, LEVELS_MAX])
def test_what_fits_stays_as_it_is(levels: int):
    top = chain(levels)
    assert not is_too_deep(top)
    before = top.SerializeToString(deterministic=True)
    assert bound(top).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("levels", [LEVELS_MAX + 1, LEVELS_MAX + 2, 98, 150, 3_000])
def test_the_first_levels_and_the_root_cause_are_kept(levels: int):
    top = chain(levels)
    assert is_too_deep(top)
    cut_causes(top)
    assert messages(top) == [*numbers(LEVELS_MAX - 2), "…", str(levels - 1)]
    root = list(module._levels(top))[-1]
    assert root.application_failure_info.type == f"T{levels - 1}"
    before = top.SerializeToString(deterministic=True)
    assert bound(top).SerializeToString(deterministic=True) == before
    assert f"at most {LEVELS_MAX} levels" in list(module._levels(top))[-2].message


def test_what_stands_for_the_causes_that_are_left_out_says_so_and_who_did_it():
    assert module.marker() == failure.Failure(
        message=f"Causes are left out here: a failure has at most {LEVELS_MAX} levels",
        source="Perdure",
        application_failure_info=failure.ApplicationFailureInfo(type=MARKER_TYPE),
    )


def test_a_failure_that_is_wrapped_again_and_again_keeps_one_marker():
    top = chain(LEVELS_MAX)
    for attempt in range(60):
        wrapped = failure.Failure(message=f"attempt {attempt}")
        wrapped.cause.CopyFrom(top)
        cut_causes(wrapped)
        top = wrapped
    said = messages(top)
    assert len(said) == LEVELS_MAX
    assert said[0] == "attempt 59"
    assert said.count("…") == 1
    assert said[-2:] == ["…", str(LEVELS_MAX - 1)]


def test_a_cut_failure_can_be_parsed_below_everything_that_may_hold_it():
    """Parsers give up at a hundred levels; wrappers and details need a few of them."""
    top = chain(200)
    for level in module._levels(top):
        payload = common.Payload(metadata={"a": b"b"})
        level.application_failure_info.details.payloads.append(payload)
    cut_causes(top)
    for _ in range(30):
        wrapped = failure.Failure()
        wrapped.cause.CopyFrom(top)
        top = wrapped
    assert failure.Failure.FromString(top.SerializeToString()) == top


@pytest.mark.parametrize("levels", [1, 2, LEVELS_MAX, 300])
def test_long_texts_are_shortened_in_their_middle(levels: int):
    top = chain(levels)
    for level in module._levels(top):
        level.message = f"begin{'ä' * TEXTS_BYTES_MAX}end"
        level.stack_trace = f"first{'x' * TEXTS_BYTES_MAX}last"
    bound(top)
    assert top.ByteSize() <= TEXTS_BYTES_MAX
    kept = list(module._levels(top))
    assert len(kept) == min(levels, LEVELS_MAX)
    for level in (kept[0], kept[-1]):
        assert level.message.startswith("beginä")
        assert level.message.endswith("äend")
        assert "characters are left out" in level.message
        assert level.stack_trace.startswith("firstx")
        assert level.stack_trace.endswith("xlast")
    before = top.SerializeToString()
    assert bound(top).SerializeToString() == before


def test_short_texts_beside_long_ones_stay():
    top = failure.Failure(message="why", stack_trace="x" * (TEXTS_BYTES_MAX + 1))
    top.cause.message = "root"
    bound(top)
    assert (top.message, top.cause.message) == ("why", "root")
    assert 90_000 < len(top.stack_trace) * 2 < 110_000
    left_out = int(top.stack_trace.split("… ")[1].split()[0])
    assert left_out + top.stack_trace.count("x") - "characters".count("x") == TEXTS_BYTES_MAX + 1


DEEP = chain(98)
TOO_DEEP_REQUESTS: list[Message] = [
    workflowservice.RespondActivityTaskFailedRequest(failure=DEEP),
    workflowservice.RespondActivityTaskFailedByIdRequest(failure=DEEP),
    workflowservice.RespondWorkflowTaskFailedRequest(failure=DEEP),
    workflowservice.RespondQueryTaskCompletedRequest(failure=DEEP),
    workflowservice.StartWorkflowExecutionRequest(continued_failure=DEEP),
    workflowservice.RespondWorkflowTaskCompletedRequest(
        query_results={
            "fine": query.WorkflowQueryResult(),
            "deep": query.WorkflowQueryResult(failure=DEEP),
        }
    ),
    *(
        workflowservice.RespondWorkflowTaskCompletedRequest(commands=[command.Command(), each])
        for each in (
            command.Command(
                fail_workflow_execution_command_attributes=command.FailWorkflowExecutionCommandAttributes(
                    failure=DEEP
                )
            ),
            command.Command(
                record_marker_command_attributes=command.RecordMarkerCommandAttributes(failure=DEEP)
            ),
            command.Command(
                continue_as_new_workflow_execution_command_attributes=command.ContinueAsNewWorkflowExecutionCommandAttributes(
                    failure=DEEP
                )
            ),
        )
    ),
    update.Rejection(failure=DEEP),
    update.Response(outcome=update.Outcome(failure=DEEP)),
]


@pytest.mark.parametrize("message", TOO_DEEP_REQUESTS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("is_own", [True, False])
def test_failures_are_found_wherever_they_are(message: Message, *, is_own: bool):
    given = type(message)()
    given.CopyFrom(message)
    bounded = with_bounded_failures(given, is_own=is_own)
    assert (bounded is given) is is_own
    assert [is_too_deep(each) for each in module.failures_below(bounded)] == [False]
    if not is_own:
        assert given == message, "the caller's message stays as it is"
    assert with_bounded_failures(bounded) is bounded


def test_messages_without_deep_failures_are_not_copied():
    fine = workflowservice.RespondActivityTaskFailedRequest(failure=chain(LEVELS_MAX))
    assert with_bounded_failures(fine) is fine
    assert with_bounded_failures(common.Payload()) == common.Payload()
    assert list(module.failures_below(fine)) == [fine.failure]


def _application(message: str, type_: str = "T", **fields: Any) -> failure.Failure:
    info = failure.ApplicationFailureInfo(type=type_)
    return failure.Failure(message=message, application_failure_info=info, **fields)


def test_the_head_of_a_failure_has_what_comes_first():
    deep = _application("root" * 50, source="s")
    top = _application("m" * 50, source="py", stack_trace="t" * 50, cause=deep)
    whole = head(top, 1000)
    assert (whole.stack_trace, whole.cause.message) == ("t" * 50, "root" * 50)
    # 13 of the type, 6 of the source, 54 of the message.
    assert head(top, 100).stack_trace == "t" * 27
    assert not head(top, 100).HasField("cause")
    # 54 of the stack trace, 4 of the cause, then its own type and source: 18.
    assert head(top, 150).cause.message == "r"
    assert head(top, 40).message == "m" * 21
    assert head(top, 15).source == "py"
    assert head(top, 0).application_failure_info.type == ""


def test_a_head_keeps_what_decides_about_retries_and_no_payloads():
    sent = _application("m")
    sent.application_failure_info.non_retryable = True
    sent.application_failure_info.details.payloads.add(data=b"secret")
    sent.encoded_attributes.data = b"secret"
    kept = head(sent, 100)
    assert kept.application_failure_info.non_retryable
    assert b"secret" not in kept.SerializeToString()
    server = failure.Failure(
        message="m" * 9, server_failure_info=failure.ServerFailureInfo(non_retryable=True)
    )
    assert head(server, 9).server_failure_info.non_retryable
    assert head(server, 9).message == "m" * 5
    timeout = failure.Failure(timeout_failure_info=failure.TimeoutFailureInfo())
    assert head(timeout, 100) == failure.Failure()


def test_a_head_ends_between_characters_and_has_few_levels():
    assert head(failure.Failure(message="é" * 5), 5).message == "éé"
    deep = _application("root")
    for level in range(30):
        deep = _application(f"{level}", cause=deep)
    levels, last = 1, head(deep, 10_000)
    while last.HasField("cause"):
        levels, last = levels + 1, last.cause
    assert (levels, last.message) == (21, "9")


def test_what_stands_for_a_failure_that_is_too_large_ends_its_activity():
    stands_in = headed(_application("m" * 100), 23)
    assert stands_in == failure.Failure(
        message="Failure exceeds size limit.",
        server_failure_info=failure.ServerFailureInfo(non_retryable=True),
        cause=_application("m" * 10),
    )


def test_a_type_that_takes_all_the_room_leaves_none_for_what_follows():
    long = _application("m" * 99, type_="t" * 99, source="s" * 99, stack_trace="x" * 99)
    long.cause.message = "c" * 99
    assert head(long, 10) == _application("", type_="t" * 10)


def test_each_deep_failure_of_a_message_is_cut():
    request = workflowservice.RespondWorkflowTaskCompletedRequest(
        commands=[
            command.Command(
                record_marker_command_attributes=command.RecordMarkerCommandAttributes(failure=DEEP)
            )
            for _ in range(3)
        ]
    )
    cut = with_bounded_failures(request)
    assert [is_too_deep(each) for each in module.failures_below(cut)] == [False] * 3
    assert [is_too_deep(each) for each in module.failures_below(request)] == [True] * 3


def test_a_message_that_contains_itself_and_no_failure_has_none():
    assert list(module.failures_below(Struct())) == []
    assert with_bounded_failures(Struct()) == Struct()


@pytest.mark.parametrize(
    ("given", "text"),
    [("plain é", "plain é"), ("a\udc80b", "a\\udc80b"), (ValueError("why"), "why"), (7, "7")],
)
def test_what_no_message_can_hold_is_spelled_out(given: object, text: str):
    assert module.valid_text(given) == text
