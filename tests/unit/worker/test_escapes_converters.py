"""Any error of a converter or codec, wherever a worker calls it, costs that task and nothing else."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import WorkflowQueryFailedError
from perdure.common import RetryPolicy
from perdure.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.exceptions import ApplicationError
from perdure.wire.api import common
from perdure.wire.api import failure as failures
from tests.unit.worker.escapes import ALL, Failure, Handle, blow, every_kind, reported, worker

pytestmark = pytest.mark.usefixtures("execution")
_SECOND = timedelta(seconds=1)
_ONCE = RetryPolicy(maximum_attempts=1)


@dataclasses.dataclass
class Trap:
    """A value that a converter of the worker cannot write, or cannot read."""

    place: str
    kind: str


class _TrapConverter(EncodingPayloadConverter):
    @property
    def encoding(self) -> str:
        return "test/trap"

    def to_payload(self, value: Any) -> common.Payload | None:
        if not isinstance(value, Trap):
            return None
        if value.place == "write":
            blow(value.kind)
        return common.Payload(metadata={"encoding": b"test/trap"}, data=value.kind.encode())

    def from_payload(self, payload: common.Payload, type_hint: type | None = None) -> Any:
        blow(payload.data.decode())


class Trapped(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(
            _TrapConverter(), *DefaultPayloadConverter.default_encoding_payload_converters
        )


_CONVERTER = DataConverter(payload_converter_class=Trapped)


@activity.defn
async def gives(kind: str) -> Trap:
    return Trap("read", kind)


@activity.defn
async def takes(trap: object) -> None: ...


class Made:
    """The type of an argument; it cannot be made."""

    def __init__(self, kind: str) -> None:
        blow(kind)


@dataclasses.dataclass
class Checked:
    """Another one."""

    kind: str

    def __post_init__(self) -> None:
        if self.kind:
            blow(self.kind)


@workflow.defn
class Converting:
    @workflow.run
    async def run(self, place: str, kind: str) -> Any:
        trap = Trap("write", kind)
        match place:
            case "result":
                return trap
            case "activity's argument":
                await workflow.execute_activity(takes, trap, start_to_close_timeout=_SECOND)
            case "local activity's argument":
                await workflow.execute_local_activity(takes, trap, start_to_close_timeout=_SECOND)
            case "activity's result":
                await workflow.execute_activity(gives, kind, start_to_close_timeout=_SECOND)
            case "local activity's result":
                await workflow.execute_local_activity(gives, kind, start_to_close_timeout=_SECOND)
            case "child's argument":
                await workflow.execute_child_workflow("Any", trap)
            case "memo":
                workflow.upsert_memo({"key": trap})
            case "continue-as-new":
                workflow.continue_as_new(args=[place, trap])
            case "details of a failure":
                raise ApplicationError("planned", trap)
            case "update's result":
                await workflow.wait_condition(lambda: False)
            case _:
                raise AssertionError(place)
        return None

    @workflow.update
    def update(self, kind: str) -> Trap:
        return Trap("write", kind)

    @workflow.query
    def query(self, kind: str) -> Trap:
        return Trap("write", kind)

    @workflow.query
    def checked(self, given: Checked) -> None: ...


@pytest.mark.parametrize(
    "place",
    [
        "result", "activity's argument", "local activity's argument", "activity's result", "local activity's result",
        "child's argument", "memo", "continue-as-new", "details of a failure",
    ],
)  # fmt: skip
async def test_values_of_a_workflow(place: str):
    async with worker([Converting], activities=[gives, takes], converter=_CONVERTER) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start(Converting.run, place, kind, id=kind))

        await every_kind(check)


async def test_results_of_updates():
    async with worker([Converting], converter=_CONVERTER) as world:

        async def check(kind: str) -> Failure:
            handle = await world.start(Converting.run, "update's result", kind, id=kind)
            return await world.reported_of_update(handle, "update", kind)

        await every_kind(check)


@pytest.mark.parametrize("query", ["query", "checked"])
async def test_values_of_queries(query: str):
    async with worker([Converting], converter=_CONVERTER) as world:
        handle = await world.start(Converting.run, "update's result", "", id="w")
        for kind in ALL:
            given = kind if query == "query" else {"kind": kind}
            with pytest.raises(WorkflowQueryFailedError):
                await handle.query(query, given)


@workflow.defn
class Taking:
    @workflow.run
    async def run(self, given: Checked) -> None: ...


async def test_arguments_that_cannot_be_made():
    async with worker([Taking], converter=_CONVERTER) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start("Taking", {"kind": kind}, id=kind))

        await every_kind(check)


# ── failure converters ────────────────────────────────────────────────────────────────────────────


class Fragile(DefaultFailureConverter):
    def to_failure(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: failures.Failure,
    ) -> None:
        text = exception.args[0] if exception.args else ""
        if text.startswith("write "):
            blow(text.split()[1])
        super().to_failure(exception, payload_converter, failure)

    def from_failure(
        self, failure: failures.Failure, payload_converter: PayloadConverter
    ) -> BaseException:
        if failure.message.startswith("read "):
            blow(failure.message.split()[1])
        return super().from_failure(failure, payload_converter)


_FRAGILE = DataConverter(failure_converter_class=Fragile)


@activity.defn
async def fails(text: str) -> None:
    raise ApplicationError(text, non_retryable=True)


@workflow.defn
class Failing:
    @workflow.run
    async def run(self, place: str, kind: str) -> None:
        match place:
            case "fails":
                raise ApplicationError(f"write {kind}")
            case "has a bug":
                raise ValueError(f"write {kind}")
            case "activity":
                await workflow.execute_activity(
                    fails, f"write {kind}", start_to_close_timeout=_SECOND, retry_policy=_ONCE
                )
            case "local activity":
                await workflow.execute_local_activity(
                    fails, f"write {kind}", start_to_close_timeout=_SECOND, retry_policy=_ONCE
                )
            case "reads an activity's":
                await workflow.execute_activity(
                    fails, f"read {kind}", start_to_close_timeout=_SECOND
                )
            case _:
                await workflow.wait_condition(lambda: False)

    @workflow.query
    def query(self, kind: str) -> None:
        raise ValueError(f"write {kind}")


@pytest.mark.parametrize(
    "place", ["fails", "has a bug", "activity", "local activity", "reads an activity's"]
)
async def test_failures_that_cannot_be_converted(place: str):
    async with worker([Failing], activities=[fails], converter=_FRAGILE) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start(Failing.run, place, kind, id=kind))

        await every_kind(check)


async def test_failures_of_queries_that_cannot_be_converted():
    async with worker([Failing], converter=_FRAGILE) as world:
        handle = await world.start(Failing.run, "", "", id="w")
        for kind in ALL:
            with pytest.raises(WorkflowQueryFailedError, match="could not be converted"):
                await handle.query("query", kind)


# ── codecs, and converters that ask for a context ─────────────────────────────────────────────────


class Fallible(PayloadCodec):
    """Raises when it meets a payload that says so."""

    def __init__(self, way: str) -> None:
        self._way = way

    def _look(self, way: str, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        for each in payloads:
            text = each.data.decode().strip('"')
            if way == self._way and text in ALL:
                blow(text)
        return list(payloads)

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return self._look("encode", payloads)

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return self._look("decode", payloads)


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, place: str, kind: str) -> Any:
        match place:
            case "result":
                return kind
            case "failure":
                raise ApplicationError("planned", kind)
            case "local activity":
                return await workflow.execute_local_activity(
                    echo, kind, start_to_close_timeout=_SECOND
                )
            case "activity":
                return await workflow.execute_activity(echo, kind, start_to_close_timeout=_SECOND)
            case _:
                await workflow.wait_condition(lambda: False)
        return None

    @workflow.query
    def query(self, kind: str) -> str:
        return kind


@activity.defn
async def echo(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ("decode", "result"),
        ("encode", "result"),
        ("encode", "failure"),
        ("encode", "local activity"),
        ("encode", "activity"),
    ],
)
async def test_codecs(way: str, place: str):
    converter = dataclasses.replace(DataConverter.default, payload_codec=Fallible(way))
    async with worker([Echo], activities=[echo], converter=converter) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start(Echo.run, place, kind, id=kind))

        await every_kind(check)


@pytest.mark.parametrize("way", ["encode", "decode"])
async def test_codecs_of_queries(way: str):
    converter = dataclasses.replace(DataConverter.default, payload_codec=Fallible(way))
    async with worker([Echo], converter=converter) as world:
        handle = await world.start(Echo.run, "", "", id="w")
        for kind in ALL:
            with pytest.raises(WorkflowQueryFailedError):
                await handle.query("query", kind)


class Contextual(DefaultPayloadConverter, WithSerializationContext):
    """Raises when it is asked for a converter of its own for an activity, or for a workflow."""

    def with_context(self, context: SerializationContext) -> Contextual:
        own = isinstance(context, WorkflowSerializationContext)
        found = str(vars(context)["workflow_id"])
        place, _, kind = found.partition(" ")
        if (place == "workflow") == own and kind in ALL:
            blow(kind)
        return self


@pytest.mark.parametrize("place", ["workflow", "activity"])
async def test_converters_that_ask_for_a_context(place: str):
    converter = DataConverter(payload_converter_class=Contextual)
    async with worker([Echo], activities=[echo], converter=converter) as world:

        async def check(kind: str) -> Failure:
            handle = await world.start(Echo.run, "activity", kind, id=f"{place} {kind}")
            return await reported(handle)

        await every_kind(check)


# ── logging ───────────────────────────────────────────────────────────────────────────────────────


class _Exploding(logging.Handler):
    """Raises whatever the record is about."""

    kind = ""

    def handle(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("perdure") and self.kind:
            blow(self.kind)
        return True


@pytest.fixture
def exploding() -> Generator[_Exploding]:
    handler = _Exploding()
    root = logging.getLogger("perdure")
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


@workflow.defn
class Logging:
    @workflow.run
    async def run(self, place: str) -> None:
        match place:
            case "logs":
                workflow.logger.warning("text")
            case "fails":
                raise ValueError("planned")
            case _:
                await workflow.wait_condition(lambda: False)

    @workflow.signal
    def signal(self, number: int) -> None: ...

    @workflow.query
    def running(self) -> bool:
        return True


@pytest.mark.parametrize("place", ["logs", "fails", "signal"])
async def test_log_handlers(place: str, exploding: _Exploding):
    async with worker([Logging]) as world:
        for kind in ALL:
            exploding.kind = kind
            handle: Handle = await world.start(Logging.run, place, id=kind)
            if place == "signal":  # one that cannot be decoded is dropped, and that is logged
                await handle.signal("signal", {"not": "a number"})
                assert await handle.query("running")
            else:
                assert (await reported(handle)).message
        exploding.kind = ""
