"""Who is never refused: interceptors, converters, handlers of logging; and what queries and validators draw."""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from typing_extensions import override

from perdure import workflow
from perdure.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
)
from perdure.worker import (
    ExecuteWorkflowInput,
    HandleQueryInput,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from perdure.worker.host import HostOptions
from perdure.workflow import NonDeterministicCall
from tests.unit.worker_host.driver import SEED, Driver, result
from tests.unit.worker_host.guarded import NOW_NS, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.wire.api import common, failure

RUNS_FIRST = random.Random(SEED).random()


def first_of(name: str) -> float:
    return random.Random(f"{SEED}/{name}").random()


class World:
    """What the exempt code has seen, recorded outside the workflow."""

    seen: ClassVar[list[Any]] = []

    @classmethod
    def look(cls) -> None:
        Path(__file__).read_bytes()
        os.getpid()
        time.sleep(0)
        cls.seen.append(
            [os.environ["PATH"], time.time(), random.random(), len(secrets.token_hex(2))]
        )


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    World.seen.clear()
    yield
    World.seen.clear()


@workflow.defn
class Draws:
    @workflow.run
    async def run(self, _given: Any = None) -> float:
        return workflow.random().random()

    @workflow.query
    def draw(self) -> list[Any]:
        numbers = [random.random(), random.Random().random(), random.gauss(0, 1)]
        return [*numbers, str(uuid.uuid4()), secrets.token_hex(4), random.SystemRandom().random()]

    @workflow.query
    def look(self) -> str:
        return os.environ["PATH"]


# Interceptors -------------------------------------------------------------------------------------


class Inbound(WorkflowInboundInterceptor):
    @override
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        World.look()
        super().init(Outbound(outbound))

    @override
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        World.look()
        return await super().execute_workflow(input)

    @override
    async def handle_query(self, input: HandleQueryInput) -> Any:
        World.look()
        return await super().handle_query(input)


class Outbound(WorkflowOutboundInterceptor):
    @override
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        World.look()
        return super().start_activity(input)


INTERCEPTED = HostOptions(interceptor_classes=[Inbound])


def test_an_inbound_interceptor_may_do_anything_and_has_numbers_of_its_own() -> None:
    assert result(Driver(Draws, INTERCEPTED).start()) == RUNS_FIRST
    generator = random.Random(f"{SEED}/<interceptors>")
    assert World.seen == [
        [os.environ["PATH"], NOW_NS / 1e9, generator.random(), 4],
        [os.environ["PATH"], NOW_NS / 1e9, generator.random(), 4],
    ]


@workflow.defn
class Orders:
    @workflow.run
    async def run(self) -> float:
        workflow.start_activity("a", start_to_close_timeout=timedelta(seconds=1))
        return workflow.random().random()


def test_an_outbound_interceptor_may_do_anything() -> None:
    assert result(Driver(Orders, INTERCEPTED).start()) == RUNS_FIRST
    assert len(World.seen) == 3


def test_an_interceptor_of_queries_may_do_anything_and_draws_real_numbers() -> None:
    driver = Driver(Draws, INTERCEPTED)
    driver.start()
    driver.ask("draw")
    driver.ask("draw")
    assert len({str(number) for *_, number, _ in World.seen[-2:]}) == 2
    expected = random.Random(f"{SEED}/<interceptors>")
    assert [each[2] for each in World.seen[:2]] == [expected.random(), expected.random()]


def test_workflow_code_below_an_interceptor_is_guarded() -> None:
    def reads() -> str:
        return os.environ["PATH"]

    with pytest.raises(NonDeterministicCall):
        run(reads, INTERCEPTED)


class Impostor:
    """Has a method that is called like one of an interceptor's."""

    def execute_workflow(self) -> str:
        return os.environ["PATH"]

    @staticmethod
    def start_activity() -> str:
        return os.environ["PATH"]


@pytest.mark.parametrize("call", [Impostor().execute_workflow, Impostor.start_activity])
def test_a_method_of_that_name_makes_no_interceptor(call: Callable[[], str]) -> None:
    with pytest.raises(NonDeterministicCall):
        run(call)


# Converters ---------------------------------------------------------------------------------------


class Looking(DefaultPayloadConverter):
    @override
    def from_payloads(self, payloads: Any, type_hints: Any = None) -> Any:
        World.look()
        return super().from_payloads(payloads, type_hints)

    @override
    def to_payloads(self, values: Any) -> Any:
        World.look()
        return super().to_payloads(values)


class LookingAtFailures(DefaultFailureConverter):
    @override
    def to_failure(
        self, exception: BaseException, payload_converter: Any, failure: failure.Failure
    ) -> None:
        World.look()
        super().to_failure(exception, payload_converter, failure)


CONVERTED = HostOptions(
    data_converter=DataConverter(
        payload_converter_class=Looking, failure_converter_class=LookingAtFailures
    )
)


def test_a_converter_that_decodes_has_workflow_time_and_numbers_of_its_own() -> None:
    assert result(Driver(Draws, CONVERTED).start("x")) == RUNS_FIRST
    decoded, encoded = World.seen
    assert decoded == [os.environ["PATH"], NOW_NS / 1e9, first_of("<converters>"), 4]
    assert encoded[1] > NOW_NS / 1e9 + 86_400, "encoding happens once"


def test_a_converter_of_failures_may_do_anything() -> None:
    driver = Driver(Draws, CONVERTED)
    driver.start("x")
    World.seen.clear()
    assert driver.query("look").failure is not None
    assert World.seen


class Encodes(DefaultPayloadConverter):
    """An encoder that workflow code calls by itself."""

    @override
    def to_payload(self, value: Any) -> common.Payload:
        World.look()
        return super().to_payload(value)


def test_a_converter_that_workflow_code_calls_is_workflow_code() -> None:
    with pytest.raises(NonDeterministicCall):
        run(lambda: Encodes().to_payload(1) and None)


# Logging ------------------------------------------------------------------------------------------


class Handler(logging.Handler):
    @override
    def emit(self, record: logging.LogRecord) -> None:
        World.look()


def test_a_handler_of_logging_sees_the_real_world() -> None:
    log = logging.getLogger("test_guard_exemptions")
    log.propagate = False
    handler = Handler()
    log.addHandler(handler)
    try:
        assert run(lambda: [log.error("text"), random.random()]) == [None, RUNS_FIRST]
    finally:
        log.removeHandler(handler)
    ((_, now, number, _),) = World.seen
    assert now > NOW_NS / 1e9 + 86_400
    assert number != RUNS_FIRST


# Queries and validators ---------------------------------------------------------------------------


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.drawn: list[float] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(60)

    @workflow.query
    def draw(self) -> list[Any]:
        return Draws.draw(Draws())

    @workflow.query
    def look(self) -> str:
        return os.environ["PATH"]

    @workflow.query
    def numbers(self) -> list[float]:
        return self.drawn

    @workflow.update
    def note(self, _given: str) -> float:
        number = random.random()
        self.drawn.append(number)
        return number

    @note.validator
    def check(self, _given: str) -> None:
        World.seen.append([random.random(), secrets.token_hex(4)])


def test_a_query_draws_real_numbers_and_leaves_those_of_the_run_alone() -> None:
    driver = Driver(Waits)
    driver.start()
    first, second = driver.ask("draw"), driver.ask("draw")
    assert all(a != b for a, b in zip(first, second, strict=True))
    driver.update("note", "x")
    assert driver.ask("numbers") == [RUNS_FIRST]


def test_a_query_is_refused_what_a_workflow_is_refused() -> None:
    driver = Driver(Waits)
    driver.start()
    failed = driver.query("look").failure
    assert failed is not None
    assert "Reading os.environ" in failed.message


@pytest.mark.parametrize("validate", [True, False])
def test_a_validator_which_replay_leaves_out_leaves_the_runs_numbers_alone(validate: bool) -> None:
    driver = Driver(Waits, CONVERTED)
    driver.start()
    driver.update("note", "x", validate=validate)
    driver.update("note", "y", validate=validate)
    numbers = random.Random(SEED)
    assert driver.ask("numbers") == [numbers.random(), numbers.random()]
    stream = random.Random(f"{SEED}/<converters>")
    kept = [stream.random(), stream.random(), stream.random()]
    decoded = [each[2] for each in World.seen if len(each) == 4]
    assert [number for number in decoded if number in kept] == kept[:2]
