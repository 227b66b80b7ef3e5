"""A metric meter that records nothing while the workflow replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from perdure.common import MetricMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.common import (
        MetricAttributes,
        MetricCounter,
        MetricGauge,
        MetricGaugeFloat,
        MetricHistogram,
        MetricHistogramFloat,
        MetricHistogramTimedelta,
    )


class _ReplaySafe:
    """An instrument that records nothing during replay. Everything else is passed to the inner instrument."""

    def __init__(self, inner: Any, is_replaying: Callable[[], bool]) -> None:
        self._inner = inner
        self._is_replaying = is_replaying

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> Any:
        inner = self._inner.with_additional_attributes(additional_attributes)
        return _ReplaySafe(inner, self._is_replaying)

    def _record(self, method: str, value: Any, attributes: MetricAttributes | None) -> None:
        if not self._is_replaying():
            getattr(self._inner, method)(value, attributes)

    def add(self, value: Any, additional_attributes: MetricAttributes | None = None) -> None:
        self._record("add", value, additional_attributes)

    def record(self, value: Any, additional_attributes: MetricAttributes | None = None) -> None:
        self._record("record", value, additional_attributes)

    def set(self, value: Any, additional_attributes: MetricAttributes | None = None) -> None:
        self._record("set", value, additional_attributes)


class ReplaySafeMeter(MetricMeter):
    """Wraps a meter.

    Args:
        inner: The meter that records.
        is_replaying: Whether the workflow is replaying right now.
    """

    def __init__(self, inner: MetricMeter, is_replaying: Callable[[], bool]) -> None:
        self._inner = inner
        self._is_replaying = is_replaying

    def _wrap(self, instrument: Any) -> Any:
        return _ReplaySafe(instrument, self._is_replaying)

    @override
    def create_counter(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricCounter:
        return self._wrap(self._inner.create_counter(name, description, unit))

    @override
    def create_histogram(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogram:
        return self._wrap(self._inner.create_histogram(name, description, unit))

    @override
    def create_histogram_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramFloat:
        return self._wrap(self._inner.create_histogram_float(name, description, unit))

    @override
    def create_histogram_timedelta(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramTimedelta:
        return self._wrap(self._inner.create_histogram_timedelta(name, description, unit))

    @override
    def create_gauge(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricGauge:
        return self._wrap(self._inner.create_gauge(name, description, unit))

    @override
    def create_gauge_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricGaugeFloat:
        return self._wrap(self._inner.create_gauge_float(name, description, unit))

    @override
    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> MetricMeter:
        inner = self._inner.with_additional_attributes(additional_attributes)
        return ReplaySafeMeter(inner, self._is_replaying)
