"""The meter of a workflow: every instrument records, and is silent on replay."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import workflow
from perdure.worker.host import HostOptions
from tests.unit.worker_host.doing import TO_RUN, Does, doing
from tests.unit.worker_host.driver import Driver

INSTRUMENTS = {
    "create_counter": "add",
    "create_histogram": "record",
    "create_histogram_float": "record",
    "create_histogram_timedelta": "record",
    "create_gauge": "set",
    "create_gauge_float": "set",
}


class Meter:
    """A meter and all its instruments in one: notes how each was made, and what it was told."""

    def __init__(self, told: list[Any], made: tuple[Any, ...] = ()) -> None:
        self.told = told
        self.made = made

    def with_additional_attributes(self, attributes: Any) -> Meter:
        return Meter(self.told, (*self.made, dict(attributes)))

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any) -> Any:
            if method.startswith("create_"):
                return Meter(self.told, (*self.made, method, arguments))
            self.told.append((*self.made, method, arguments))
            return None

        if method.startswith("__"):
            raise AttributeError(method)
        return call


OWN = {"namespace": "default", "task_queue": "queue", "workflow_type": "Does"}


@pytest.mark.parametrize("replaying", [False, True])
@pytest.mark.parametrize("create", INSTRUMENTS)
def test_every_instrument_records_outside_of_replay(create: str, replaying: bool) -> None:
    told: list[Any] = []
    tell = INSTRUMENTS[create]

    async def main() -> None:
        meter = workflow.metric_meter()
        assert workflow.metric_meter() is meter
        instrument: Any = getattr(meter, create)("name", "description", "unit")
        getattr(instrument, tell)(1)
        getattr(instrument, tell)(2, {"some": "attribute"})
        again = meter.with_additional_attributes({"of": "the meter"})
        other: Any = getattr(again, create)("other").with_additional_attributes({"of": "the other"})
        getattr(other, tell)(3)

    TO_RUN[:] = [main]
    made: Any = Meter(told)
    run = Driver(Does, HostOptions(metric_meter=made))
    run.replaying = replaying
    run.start()
    named = ("name", "description", "unit")
    if replaying:
        assert told == []
        return
    twice = ({"of": "the meter"}, create, ("other", None, None), {"of": "the other"})
    assert told == [
        (OWN, create, named, tell, (1, None)),
        (OWN, create, named, tell, (2, {"some": "attribute"})),
        (OWN, *twice, tell, (3, None)),
    ]


def test_what_else_an_instrument_has_is_passed_on() -> None:
    found: list[Any] = []

    class Named:
        name = "the name"

        def with_additional_attributes(self, _: Any) -> Named:
            return self

        def create_counter(self, *_: Any) -> Named:
            return self

    async def main() -> None:
        found.append(_named(workflow.metric_meter().create_counter("n")))

    doing(main, metric_meter=Named())
    assert found == ["the name"]


def _named(instrument: Any) -> Any:
    return instrument.name
