"""The metric meter that activities and workflows may record with. `MetricMeter.noop` records nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Self, TypeAlias

MetricAttributes: TypeAlias = Mapping[str, str | int | float | bool]


class MetricCommon(ABC):
    """What every instrument has."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The instrument's name."""

    @property
    @abstractmethod
    def description(self) -> str | None:
        """A text for people, or None."""

    @property
    @abstractmethod
    def unit(self) -> str | None:
        """The unit of its values, or None."""

    @abstractmethod
    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> Self:
        """The same instrument, with further attributes on its records.

        Args:
            additional_attributes: Values by name.
        """


class MetricCounter(MetricCommon):
    """A sum that only increases."""

    @abstractmethod
    def add(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        """Increase the sum.

        Args:
            value: How much; not negative.
            additional_attributes: Values by name, for this record only.
        """


class MetricHistogram(MetricCommon):
    """A distribution of integers."""

    @abstractmethod
    def record(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        """Record a value.

        Args:
            value: The value; not negative.
            additional_attributes: Values by name, for this record only.
        """


class MetricHistogramFloat(MetricCommon):
    """A distribution of numbers."""

    @abstractmethod
    def record(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        """Record a value.

        Args:
            value: The value; not negative.
            additional_attributes: Values by name, for this record only.
        """


class MetricHistogramTimedelta(MetricCommon):
    """A distribution of durations, exact to the millisecond."""

    @abstractmethod
    def record(
        self, value: timedelta, additional_attributes: MetricAttributes | None = None
    ) -> None:
        """Record a duration.

        Args:
            value: The duration; not negative.
            additional_attributes: Values by name, for this record only.
        """


class MetricGauge(MetricCommon):
    """A current value: the latest integer."""

    @abstractmethod
    def set(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        """Set the value.

        Args:
            value: The new value; not negative.
            additional_attributes: Values by name, for this record only.
        """


class MetricGaugeFloat(MetricCommon):
    """A current value: the latest number."""

    @abstractmethod
    def set(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        """Set the value.

        Args:
            value: The new value; not negative.
            additional_attributes: Values by name, for this record only.
        """


class MetricMeter(ABC):
    """Creates instruments."""

    noop: ClassVar[MetricMeter]

    @abstractmethod
    def create_counter(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricCounter:
        """Create a counter.

        Args:
            name: The instrument's name.
            description: A text for people.
            unit: The unit of its values.
        """

    @abstractmethod
    def create_histogram(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogram:
        """Create a histogram of integers.

        Args:
            name: The instrument's name.
            description: A text for people.
            unit: The unit of its values.
        """

    @abstractmethod
    def create_histogram_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramFloat:
        """Create a histogram of numbers.

        Args:
            name: The instrument's name.
            description: A text for people.
            unit: The unit of its values.
        """

    @abstractmethod
    def create_histogram_timedelta(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramTimedelta:
        """Create a histogram of durations.

        Args:
            name: The instrument's name.
            description: A text for people.
            unit: The unit in which durations are exported.
        """

    @abstractmethod
    def create_gauge(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricGauge:
        """Create a gauge of integers.

        Args:
            name: The instrument's name.
            description: A text for people.
            unit: The unit of its values.
        """

    @abstractmethod
    def create_gauge_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricGaugeFloat:
        """Create a gauge of numbers.

        Args:
            name: The instrument's name.
            description: A text for people.
            unit: The unit of its values.
        """

    @abstractmethod
    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> MetricMeter:
        """The same meter, with further attributes on the records of its instruments.

        Args:
            additional_attributes: Values by name.
        """


class _Noop(MetricCommon):
    def __init__(self, name: str, description: str | None, unit: str | None) -> None:
        self._name, self._description, self._unit = name, description, unit

    @property
    def name(self) -> str:
        return self._name

    @property
    def description(self) -> str | None:
        return self._description

    @property
    def unit(self) -> str | None:
        return self._unit

    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> Self:
        return self


class _NoopCounter(_Noop, MetricCounter):
    def add(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        """Nothing is recorded."""


class _NoopHistogram(_Noop, MetricHistogram):
    def record(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        """Nothing is recorded."""


class _NoopHistogramFloat(_Noop, MetricHistogramFloat):
    def record(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        """Nothing is recorded."""


class _NoopHistogramTimedelta(_Noop, MetricHistogramTimedelta):
    def record(
        self, value: timedelta, additional_attributes: MetricAttributes | None = None
    ) -> None:
        """Nothing is recorded."""


class _NoopGauge(_Noop, MetricGauge):
    def set(self, value: int, additional_attributes: MetricAttributes | None = None) -> None:
        """Nothing is recorded."""


class _NoopGaugeFloat(_Noop, MetricGaugeFloat):
    def set(self, value: float, additional_attributes: MetricAttributes | None = None) -> None:
        """Nothing is recorded."""


class _NoopMeter(MetricMeter):
    def create_counter(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricCounter:
        return _NoopCounter(name, description, unit)

    def create_histogram(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogram:
        return _NoopHistogram(name, description, unit)

    def create_histogram_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramFloat:
        return _NoopHistogramFloat(name, description, unit)

    def create_histogram_timedelta(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricHistogramTimedelta:
        return _NoopHistogramTimedelta(name, description, unit)

    def create_gauge(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricGauge:
        return _NoopGauge(name, description, unit)

    def create_gauge_float(
        self, name: str, description: str | None = None, unit: str | None = None
    ) -> MetricGaugeFloat:
        return _NoopGaugeFloat(name, description, unit)

    def with_additional_attributes(self, additional_attributes: MetricAttributes) -> MetricMeter:
        return self


MetricMeter.noop = _NoopMeter()
