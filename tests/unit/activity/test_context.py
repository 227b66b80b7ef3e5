from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest

from perdure import activity
from perdure.activity.context import CancellationDetailsHolder, CompleteAsyncError, Context
from perdure.common import MetricMeter, Priority
from perdure.common.events import CompositeEvent
from perdure.converter import DefaultPayloadConverter

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
INFO = activity.Info(
    activity_id="5",
    activity_type="Charge",
    attempt=2,
    current_attempt_scheduled_time=MOMENT,
    heartbeat_details=["half"],
    heartbeat_timeout=None,
    is_local=False,
    namespace="default",
    schedule_to_close_timeout=None,
    scheduled_time=MOMENT,
    start_to_close_timeout=timedelta(seconds=10),
    started_time=MOMENT,
    task_queue="q",
    task_token=b"t",
    workflow_id="w",
    workflow_namespace="default",
    workflow_run_id="r",
    workflow_type="W",
    priority=Priority.default,
    retry_policy=None,
)


class Running:
    """A running activity, as a worker sets it up."""

    def __init__(self, **changes: Any) -> None:
        self.beats: list[tuple[Any, ...]] = []
        fields: dict[str, Any] = {
            "info": lambda: INFO,
            "heartbeat": self._beat,
            "cancelled_event": CompositeEvent(threading.Event(), asyncio.Event()),
            "worker_shutdown_event": CompositeEvent(threading.Event(), asyncio.Event()),
            "shield_thread_cancel_exception": None,
            "payload_converter_class_or_instance": DefaultPayloadConverter,
            "runtime_metric_meter": MetricMeter.noop,
            "client": None,
            "cancellation_details": CancellationDetailsHolder(),
        }
        self.context = Context(**(fields | changes))

    def _beat(self, *details: Any) -> None:
        self.beats.append(details)

    def __enter__(self) -> Self:
        self._token = Context.set(self.context)
        return self

    def __exit__(self, *_: object) -> None:
        Context.reset(self._token)


@pytest.mark.parametrize(
    "call",
    [
        activity.info,
        activity.heartbeat,
        activity.is_cancelled,
        activity.is_worker_shutdown,
        activity.cancellation_details,
        activity.payload_converter,
        activity.metric_meter,
        activity.client,
        activity.wait_for_cancelled_sync,
        activity.wait_for_worker_shutdown_sync,
    ],
)
def test_outside_an_activity(call: Any) -> None:
    assert not activity.in_activity()
    with pytest.raises(RuntimeError, match="Not in activity context"):
        call()


def test_info_and_heartbeat() -> None:
    with Running() as running:
        assert activity.in_activity()
        assert activity.info().attempt == 2
        assert activity.info().in_workflow
        activity.heartbeat("a", 1)
        activity.heartbeat()
    assert running.beats == [("a", 1), ()]
    assert not activity.in_activity()


def test_heartbeat_before_interceptors_are_ready() -> None:
    with Running(heartbeat=None), pytest.raises(RuntimeError, match="interceptor"):
        activity.heartbeat()


async def test_cancellation() -> None:
    with Running() as running:
        assert not activity.is_cancelled()
        assert activity.cancellation_details() is None
        waiter = asyncio.ensure_future(activity.wait_for_cancelled())
        await asyncio.sleep(0)
        running.context.cancellation_details.details = activity.ActivityCancellationDetails(
            cancel_requested=True
        )
        running.context.cancelled_event.set()
        await waiter
        activity.wait_for_cancelled_sync(timedelta(seconds=1))
        details = activity.cancellation_details()
        assert activity.is_cancelled()
        assert details is not None
        assert details.cancel_requested


async def test_worker_shutdown() -> None:
    with Running() as running:
        assert not activity.is_worker_shutdown()
        running.context.worker_shutdown_event.set()
        await activity.wait_for_worker_shutdown()
        activity.wait_for_worker_shutdown_sync(1)
        assert activity.is_worker_shutdown()


def test_shield() -> None:
    entered: list[str] = []

    @contextmanager
    def shield() -> Generator[None]:
        entered.append("in")
        yield
        entered.append("out")

    with Running(shield_thread_cancel_exception=shield), activity.shield_thread_cancel_exception():
        assert entered == ["in"]
    assert entered == ["in", "out"]
    with Running(), activity.shield_thread_cancel_exception():
        pass


def test_complete_async_is_not_caught_by_accident() -> None:
    with pytest.raises(CompleteAsyncError):
        activity.raise_complete_async()
    assert not issubclass(CompleteAsyncError, Exception)


def test_converter_and_meter_are_made_once() -> None:
    with Running():
        assert activity.payload_converter() is activity.payload_converter()
        assert activity.metric_meter() is activity.metric_meter()
    instance = DefaultPayloadConverter()
    with Running(payload_converter_class_or_instance=instance):
        assert activity.payload_converter() is instance
    with Running(runtime_metric_meter=None), pytest.raises(RuntimeError, match="Metrics"):
        activity.metric_meter()


def test_no_client_in_sync_activities() -> None:
    with Running(), pytest.raises(RuntimeError, match="async def"):
        activity.client()


class TestLogger:
    def test_details_on_message_and_record(self, caplog: pytest.LogCaptureFixture) -> None:
        extra = {"mine": 1}
        with caplog.at_level(logging.INFO, "perdure.activity"), Running():
            activity.logger.info("hello %s", "you", extra=extra)
        record = caplog.records[0]
        assert record.getMessage().startswith("hello you ({'activity_id': '5'")
        assert record.__dict__["temporal_activity"]["workflow_id"] == "w"
        assert record.__dict__["mine"] == 1
        assert extra == {"mine": 1}

    def test_plain_outside(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "perdure.activity"):
            activity.logger.info("hello")
        assert caplog.messages == ["hello"]

    def test_choices(self, caplog: pytest.LogCaptureFixture) -> None:
        adapter = activity.LoggerAdapter(logging.getLogger("perdure.test"), None)
        adapter.activity_info_on_message = False
        adapter.activity_info_on_extra = False
        adapter.full_activity_info_on_extra = True
        with caplog.at_level(logging.INFO, "perdure.test"), Running():
            adapter.info("hello")
        assert caplog.messages == ["hello"]
        assert caplog.records[0].__dict__["activity_info"] is INFO
        assert "temporal_activity" not in caplog.records[0].__dict__
        assert adapter.base_logger is logging.getLogger("perdure.test")
