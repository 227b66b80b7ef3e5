"""Any error, at any place where workflow code is called, costs that workflow task and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from perdure import activity, workflow
from perdure.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from perdure.common import RawValue
from perdure.wire.api import enums
from perdure.worker import (
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from tests.unit.worker.escapes import ALL, KINDS, Failure, blow, every_kind, reported, worker

pytestmark = pytest.mark.usefixtures("execution")
_SECOND = timedelta(seconds=1)


class Awaited:
    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __await__(self) -> Generator[Any, None, None]:
        yield from asyncio.sleep(0).__await__()
        blow(self._kind)


async def _generated(kind: str) -> AsyncGenerator[int]:
    yield 1
    blow(kind)


class _Context:
    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def __aenter__(self) -> None:
        await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        blow(self._kind)


@workflow.defn
class Inside:
    """Raises while its coroutine runs."""

    @workflow.run
    async def run(self, place: str, kind: str) -> None:
        match place:
            case "run":
                blow(kind)
            case "after a timer":
                await workflow.sleep(0.001)
                blow(kind)
            case "predicate":
                await workflow.wait_condition(lambda: bool(blow(kind)))
            case "predicate, later":
                begun = workflow.now()
                await asyncio.gather(
                    workflow.wait_condition(lambda: workflow.now() > begun and bool(blow(kind))),
                    workflow.sleep(0.001),
                )
            case "awaited subtask":
                await asyncio.create_task(self.sub(kind))
            case "gather":
                await asyncio.gather(self.sub(kind), workflow.sleep(0.001))
            case "__await__":
                await Awaited(kind)
            case "async generator":
                async for _ in _generated(kind):
                    pass
            case "__aexit__":
                async with _Context(kind):
                    pass
            case "wait_for":
                await asyncio.wait_for(self.sub(kind), 10)
            case _:
                raise AssertionError(place)

    async def sub(self, kind: str) -> None:
        await asyncio.sleep(0)
        blow(kind)


@pytest.mark.parametrize(
    "place",
    [
        "run", "after a timer", "predicate", "predicate, later", "awaited subtask", "gather", "__await__",
        "async generator", "__aexit__", "wait_for",
    ],
)  # fmt: skip
async def test_the_main_coroutine(place: str):
    async with worker([Inside]) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start(Inside.run, place, kind, id=kind))

        await every_kind(check)


@workflow.defn
class InInit:
    @workflow.init
    def __init__(self, kind: str) -> None:
        blow(kind)

    @workflow.run
    async def run(self, kind: str) -> None: ...


async def test_the_constructor():
    async with worker([InInit]) as world:

        async def check(kind: str) -> Failure:
            return await reported(await world.start(InInit.run, kind, id=kind))

        await every_kind(check)


@workflow.defn
class Waiting:
    """Has handlers of each kind that raise."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def sync_signal(self, kind: str) -> None:
        blow(kind)

    @workflow.signal
    async def async_signal(self, kind: str) -> None:
        await workflow.sleep(0.001)
        blow(kind)

    @workflow.signal(dynamic=True)
    def any_signal(self, name: str, args: Sequence[RawValue]) -> None:
        blow(workflow.payload_converter().from_payload(args[0].payload, str))

    @workflow.query
    def query(self, kind: str) -> None:
        blow(kind)

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> None:
        blow(workflow.payload_converter().from_payload(args[0].payload, str))

    @workflow.update
    async def update(self, kind: str) -> None:
        await workflow.sleep(0.001)
        blow(kind)

    @workflow.update
    def validated(self, kind: str) -> None: ...

    @validated.validator
    def _validate(self, kind: str) -> None:
        blow(kind)

    @workflow.update(dynamic=True)
    def any_update(self, name: str, args: Sequence[RawValue]) -> None:
        blow(workflow.payload_converter().from_payload(args[0].payload, str))


@pytest.mark.parametrize("name", ["sync_signal", "async_signal", "unknown"])
async def test_signal_handlers(name: str):
    async with worker([Waiting]) as world:

        async def check(kind: str) -> Failure:
            handle = await world.start(Waiting.run, id=kind)
            await handle.signal(name, kind)
            return await reported(handle)

        await every_kind(check)


@pytest.mark.parametrize("name", ["query", "unknown"])
async def test_query_handlers(name: str):
    async with worker([Waiting]) as world:
        handle = await world.start(Waiting.run, id="w")

        async def check(kind: str) -> Failure:
            with pytest.raises(WorkflowQueryFailedError) as failed:
                await handle.query(name, kind)
            return Failure(message=failed.value.message, stack_trace=repr(failed.value.__cause__))

        for kind in ALL:  # one run takes one query after the other
            assert (await check(kind)).message


@pytest.mark.parametrize("name", ["update", "unknown"])
async def test_update_handlers(name: str):
    async with worker([Waiting]) as world:

        async def check(kind: str) -> Failure:
            handle = await world.start(Waiting.run, id=kind)
            return await world.reported_of_update(handle, name, kind)

        await every_kind(check)


async def test_update_validators_reject_the_update_and_nothing_else():
    async with worker([Waiting]) as world:
        handle = await world.start(Waiting.run, id="w")
        for kind in ALL:
            with pytest.raises(WorkflowUpdateFailedError) as failed:
                await handle.execute_update("validated", kind)
            assert failed.value.__cause__ is not None


# ── eviction, callbacks, replay ───────────────────────────────────────────────────────────────────


@workflow.defn
class Cleaning:
    """Raises when it is thrown out of memory."""

    @workflow.run
    async def run(self, kind: str) -> None:
        try:
            await workflow.wait_condition(lambda: False)
        finally:
            blow(kind)

    @workflow.query
    def running(self) -> bool:
        return True


async def test_finally_blocks_of_runs_that_are_evicted():
    async with worker([Cleaning], max_cached_workflows=1) as world:
        for kind in ALL:
            handle = await world.start(Cleaning.run, kind, id=kind)
            assert await handle.query(Cleaning.running)


@workflow.defn
class CallingBack:
    """Its callbacks raise: for asyncio that is no error of the main coroutine."""

    @workflow.run
    async def run(self, place: str, kind: str) -> str:
        loop = asyncio.get_running_loop()
        if place == "call_soon":
            loop.call_soon(blow, kind)
        elif place == "exception handler":
            loop.set_exception_handler(lambda _loop, _context: blow(kind))
            loop.call_soon(blow, "ValueError")
        else:
            task = asyncio.create_task(asyncio.sleep(0))
            task.add_done_callback(lambda _: blow(kind))
        await workflow.sleep(0.001)
        return "ok"


@pytest.mark.parametrize("place", ["call_soon", "exception handler", "done callback"])
async def test_callbacks_of_the_loop(place: str):
    async with worker([CallingBack]) as world:

        async def check(kind: str) -> bool:
            handle = await world.start(CallingBack.run, place, kind, id=kind)
            async for event in handle.fetch_history_events(wait_new_event=True):
                if event.event_type in _OUTCOMES:
                    return event.event_type == enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
            return False

        completed = await asyncio.gather(*(check(kind) for kind in ALL))
        # asyncio lets the loop's exception handler and these two through, and so they fail the task.
        ends_loops = {"SystemExit", "KeyboardInterrupt"}
        if place == "exception handler":
            ends_loops |= {"GeneratorExit", "Odd", "BaseExceptionGroup", "asyncio's"}
        assert {
            kind for kind, is_completed in zip(ALL, completed, strict=True) if not is_completed
        } == ends_loops


_OUTCOMES = (
    enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    enums.EVENT_TYPE_WORKFLOW_TASK_FAILED,
)


@workflow.defn(name="Cleaning")
class Broken:
    @workflow.run
    async def run(self, kind: str) -> None:
        blow(kind)


async def test_replays_say_what_was_raised():
    async with worker([Cleaning]) as world:
        for kind in KINDS:  # a cancellation ends the workflow instead of its task
            handle = await world.start(Cleaning.run, kind, id=kind)
            assert await handle.query(Cleaning.running)
            replay = Replayer(workflows=[Broken])
            result = await replay.replay_workflow(
                await handle.fetch_history(), raise_on_replay_failure=False
            )
            assert result.replay_failure is not None


# ── interceptors ──────────────────────────────────────────────────────────────────────────────────


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> NoReturn:
        blow(input.args[0])
        raise AssertionError


class _Inbound(WorkflowInboundInterceptor):
    place = ""

    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        self._blow("constructor")
        super().__init__(next)

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self._blow("init")
        super().init(_Outbound(outbound) if self.place == "start_activity" else outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        self._blow("execute_workflow")
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        self._blow("handle_signal")

    async def handle_query(self, input: HandleQueryInput) -> Any:
        blow(input.args[0])

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        self._blow("handle_update_handler")

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        self._blow("handle_update_validator")

    def _blow(self, place: str) -> None:
        if self.place == place and workflow.info().workflow_id in ALL:
            blow(workflow.info().workflow_id)


class Intercepting(Interceptor):
    def __init__(self, place: str) -> None:
        self._place = place

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return type("Placed", (_Inbound,), {"place": self._place})


@activity.defn
async def harmless(kind: str) -> None: ...


@workflow.defn
class Calling:
    """Harmless by itself."""

    @workflow.run
    async def run(self, kind: str) -> None:
        await workflow.execute_activity(harmless, kind, start_to_close_timeout=_SECOND)

    @workflow.signal
    def signal(self, kind: str) -> None: ...

    @workflow.query
    def query(self, kind: str) -> None: ...

    @workflow.update
    def update(self, kind: str) -> None: ...

    @update.validator
    def _validate(self, kind: str) -> None: ...


@pytest.mark.parametrize(
    "place", ["constructor", "init", "execute_workflow", "start_activity", "handle_signal"]
)
async def test_interceptors_around_the_run(place: str):
    given = [Intercepting(place)]
    async with worker([Calling], activities=[harmless], interceptors=given) as world:

        async def check(kind: str) -> Failure:
            handle = await world.start(Calling.run, kind, id=kind, signal=("signal", kind))
            return await reported(handle)

        await every_kind(check)


async def test_interceptors_around_queries():
    async with worker([Calling], activities=[harmless], interceptors=[Intercepting("")]) as world:
        handle = await world.start(Calling.run, "", id="w")
        for kind in ALL:
            with pytest.raises(WorkflowQueryFailedError):
                await handle.query("query", kind)


async def test_interceptors_around_update_handlers():
    given = [Intercepting("handle_update_handler")]
    async with worker([Waiting], interceptors=given) as world:

        async def check(kind: str) -> Failure:
            handle = await world.start(Waiting.run, id=kind)
            return await world.reported_of_update(handle, "update", kind)

        await every_kind(check)


async def test_interceptors_around_validators():
    given = [Intercepting("handle_update_validator")]
    async with worker([Waiting], interceptors=given) as world:
        for kind in ALL:
            handle = await world.start(Waiting.run, id=kind)
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update("validated", kind)
