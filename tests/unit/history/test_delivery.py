"""The two halves of messages between runs, and what errors of a destination mean for the source."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.ids import run_key
from perdure.entity.env import Env
from perdure.history.delivery.apply import apply, refusal_of
from perdure.history.delivery.messages import (
    Address,
    CreateChild,
    DiscardChild,
    Message,
    Receipt,
    Refusal,
    ReleaseChild,
    ReportClose,
    RequestCancel,
    Signal,
    Terminate,
)
from perdure.history.delivery.settle import is_settled, next_message, settle
from perdure.history.run.start import Parent
from perdure.history.state.run_state import RunState
from perdure.wire.api import history, workflowservice
from perdure.wire.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    RpcError,
    Unavailable,
)

SOURCE = run_key("n", "source", "1")
TO = Address("n", "destination")
ENV = Env(now_ns=1, new_id=lambda: "id")
CANCEL = workflowservice.RequestCancelWorkflowExecutionRequest()
SIGNAL = Signal(TO, SOURCE, 5, workflowservice.SignalWorkflowExecutionRequest(), child_only=False)
ASKED = RequestCancel(TO, SOURCE, CANCEL, sender_event_id=5)
BY_POLICY = RequestCancel(TO, SOURCE, CANCEL)
ENDING = Terminate(TO, workflowservice.TerminateWorkflowExecutionRequest())
CHILD = CreateChild(
    TO,
    Parent(SOURCE, "default", 5, "root", "r"),
    workflowservice.StartWorkflowExecutionRequest(request_id="1:5"),
)
RELEASE, DISCARD = ReleaseChild(TO, SOURCE, "1:5"), DiscardChild(TO, SOURCE, "1:5")
REPORT = ReportClose(TO, 5, SOURCE, "1", history.HistoryEvent())
ALL: list[Message] = [SIGNAL, ASKED, BY_POLICY, ENDING, CHILD, RELEASE, DISCARD, REPORT]


@pytest.mark.parametrize(
    ("message", "error", "refusal"),
    [
        (SIGNAL, NotFound, Refusal.NOT_FOUND),
        (SIGNAL, InvalidArgument, Refusal.LIMIT),
        (ASKED, NotFound, Refusal.NOT_FOUND),
        (ASKED, InvalidArgument, None),
        (BY_POLICY, NotFound, Refusal.NOT_FOUND),
        (ENDING, NotFound, Refusal.NOT_FOUND),
        (REPORT, NotFound, Refusal.NOT_FOUND),
        (RELEASE, NotFound, Refusal.NOT_FOUND),
        (DISCARD, NotFound, Refusal.NOT_FOUND),
        (CHILD, AlreadyExists, Refusal.EXISTS),
        (CHILD, InvalidArgument, Refusal.INVALID),
        (CHILD, FailedPrecondition, Refusal.INVALID),
        (CHILD, NotFound, None),
        (SIGNAL, AlreadyExists, None),
        (SIGNAL, FailedPrecondition, None),
    ],
)
def test_errors_that_a_retry_cannot_fix_are_refusals(
    message: Message, error: type[RpcError], refusal: Refusal | None
):
    assert refusal_of(message, error("no")) is refusal


@pytest.mark.parametrize("message", ALL)
def test_a_destination_that_is_away_is_asked_again(message: Message):
    assert refusal_of(message, Unavailable("away")) is None


def test_sources_record_what_they_wait_for():
    assert [message for message in ALL if is_settled(message)] == [SIGNAL, ASKED, CHILD]


@pytest.mark.parametrize("message", [BY_POLICY, ENDING, RELEASE, DISCARD, REPORT])
def test_these_are_the_last_messages_of_their_effects(message: Message):
    assert next_message(message, Receipt(), None) is None


def test_a_child_is_released_once_its_start_is_recorded_and_discarded_if_it_never_will_be():
    made = Receipt(run_id="2")
    assert next_message(CHILD, made, recorded=True) == RELEASE
    assert next_message(CHILD, made, recorded=False) == DISCARD
    assert next_message(CHILD, made, recorded=None) == DISCARD
    assert next_message(CHILD, Receipt(Refusal.EXISTS), recorded=None) is None


@pytest.mark.parametrize("message", [SIGNAL, ASKED, BY_POLICY])
def test_a_workflow_does_not_find_itself(message: Any):
    to_itself = type(message)(
        **{
            field: getattr(message, field)
            for field in message.__struct_fields__
            if field not in ("to", "sender")
        },
        to=TO,
        sender=run_key("n", TO.workflow_id, "another run"),
    )
    with pytest.raises(NotFound):
        apply(to_itself, RunState(run_key("n", TO.workflow_id, "1")), ENV)


def test_each_half_refuses_what_belongs_to_another():
    state = RunState(SOURCE)
    with pytest.raises(TypeError):
        apply(CHILD, state, ENV)
    for message in (ENDING, RELEASE, DISCARD, REPORT):
        with pytest.raises(TypeError, match=type(message).__name__):
            settle(state, message, Receipt(), None, ENV)
