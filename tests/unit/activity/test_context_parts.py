"""What each function of an activity gives, before and after the worker has something to give."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity
from perdure.common.events import CompositeEvent
from perdure.common.metrics import _NoopMeter
from perdure.converter import DefaultPayloadConverter
from tests.unit.activity.test_context import INFO, Running


class Meter(_NoopMeter):
    """Remembers the attributes that it was made with."""

    def __init__(self, attributes: Any = None) -> None:
        self.attributes: dict[str, Any] = dict(attributes or {})

    def with_additional_attributes(self, additional_attributes: Any) -> Meter:
        return Meter({**self.attributes, **additional_attributes})


def test_a_meter_says_whose_it_is_and_is_made_once() -> None:
    with Running(runtime_metric_meter=Meter({"service": "shop"})):
        meter = activity.metric_meter()
        assert isinstance(meter, Meter)
        assert meter.attributes == {
            "service": "shop",
            "namespace": "default",
            "task_queue": "q",
            "activity_type": "Charge",
        }
        assert activity.metric_meter() is meter


def test_a_converter_s_class_becomes_one_converter() -> None:
    with Running(payload_converter_class_or_instance=DefaultPayloadConverter):
        converter = activity.payload_converter()
        assert isinstance(converter, DefaultPayloadConverter)
        assert activity.payload_converter() is converter


def test_the_client_that_the_worker_gave() -> None:
    given: Any = object()
    with Running(client=given):
        assert activity.client() is given


WAITS = [
    ("cancelled_event", activity.wait_for_cancelled, activity.wait_for_cancelled_sync, activity.is_cancelled),
    (
        "worker_shutdown_event",
        activity.wait_for_worker_shutdown,
        activity.wait_for_worker_shutdown_sync,
        activity.is_worker_shutdown,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("event", "wait", "wait_sync", "is_set"), WAITS)
async def test_waiting_ends_with_the_event_and_not_before(
    event: str, wait: Any, wait_sync: Any, is_set: Any
) -> None:
    with Running() as running:
        waiter = asyncio.ensure_future(wait())
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiter.done()
        for timeout in (0, 0.001, timedelta(0), timedelta(milliseconds=1)):
            wait_sync(timeout)
        assert not is_set()
        getattr(running.context, event).set()
        await waiter
        wait_sync()
        wait_sync(None)
        assert is_set()


@pytest.mark.parametrize(("event", "wait", "wait_sync", "is_set"), WAITS)
def test_a_thread_is_woken_by_the_event(event: str, wait: Any, wait_sync: Any, is_set: Any) -> None:
    set_by_other = CompositeEvent(threading.Event(), None)
    with Running(**{event: set_by_other}):
        other = threading.Timer(0.01, set_by_other.set)
        other.start()
        wait_sync(timedelta(hours=1))
        assert is_set()
        other.join()


async def test_an_event_without_its_parts_says_so() -> None:
    alone = CompositeEvent(threading.Event(), None)
    alone.set()
    assert alone.is_set()
    with pytest.raises(RuntimeError, match="not in async activity"):
        await alone.wait()
    nothing = CompositeEvent(None, asyncio.Event())
    for call in (nothing.set, nothing.is_set, nothing.wait_sync):
        with pytest.raises(RuntimeError, match="Missing event"):
            call()


@pytest.mark.parametrize("on_message", [True, False])
@pytest.mark.parametrize("on_extra", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("own", [None, {"mine": 1}])
def test_what_a_log_line_says_about_its_activity(
    caplog: pytest.LogCaptureFixture,
    on_message: bool,
    on_extra: bool,
    whole: bool,
    own: dict[str, Any] | None,
) -> None:
    adapter = activity.LoggerAdapter(logging.getLogger("perdure.test"), None)
    before = (
        adapter.activity_info_on_message,
        adapter.activity_info_on_extra,
        adapter.full_activity_info_on_extra,
    )
    assert before == (True, True, False)
    adapter.activity_info_on_message = on_message
    adapter.activity_info_on_extra = on_extra
    adapter.full_activity_info_on_extra = whole
    with caplog.at_level(logging.INFO, "perdure.test"), Running():
        adapter.info("hello", extra=own)
    (record,) = caplog.records
    details = INFO.logger_details()
    assert record.getMessage() == (f"hello ({details})" if on_message else "hello")
    said = {
        name: value
        for name, value in vars(record).items()
        if name in {"mine", "temporal_activity", "activity_info"}
    }
    expected: dict[str, Any] = dict(own or {})
    if on_extra:
        expected["temporal_activity"] = details
    if whole:
        expected["activity_info"] = INFO
    assert said == expected


def test_without_activity_info_the_arguments_of_a_log_line_stay_as_they_are() -> None:
    adapter = activity.LoggerAdapter(logging.getLogger("perdure.test"), None)
    adapter.activity_info_on_extra = False
    with Running():
        assert adapter.process("x", {})[1] == {}
    assert adapter.process("x", {"extra": {"a": 1}}) == ("x", {"extra": {"a": 1}})


@pytest.mark.parametrize("extra", [None, {}, {"a": 1}])
def test_the_extra_of_the_adapter_itself(extra: dict[str, int] | None) -> None:
    adapter = activity.LoggerAdapter(logging.getLogger("perdure.test"), extra)
    assert adapter.extra == (extra or {})


def test_the_details_of_log_lines_are_put_together_once() -> None:
    asked: list[int] = []

    def info() -> activity.Info:
        asked.append(1)
        return INFO

    with Running(info=info) as running:
        details = running.context.logger_details
        assert details == INFO.logger_details()
        assert running.context.logger_details is details
    assert asked == [1]
