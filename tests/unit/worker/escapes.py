"""What user code may raise, and a world in which it does: one worker, one run for each kind of error.

Role: the table of errors, shared by the tests of all places where user code is called. A test names a place and
starts one workflow per error there (`every_kind`), waits until each has been reported, and then asks for what must
still work: other workflows in all slots, and the worker's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from perdure import workflow
from perdure.client import Client, WorkflowHandle
from perdure.converter import DataConverter
from perdure.exceptions import CancelledError
from perdure.wire.api import enums, failure, history
from perdure.worker import Worker
from perdure.worker.options import WorkflowExecution

Failure = failure.Failure
Handle = WorkflowHandle[Any, Any]


class Odd(BaseException):
    """As some libraries have it: no Exception."""


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")


def _text(kind: type[BaseException]) -> Callable[[], BaseException]:
    return lambda: kind("planned")


KINDS: dict[str, Callable[[], BaseException]] = {
    each.__name__: _text(each)
    for each in (
        ValueError, StopIteration, StopAsyncIteration, GeneratorExit, SystemExit, KeyboardInterrupt, RecursionError,
        MemoryError, RuntimeError, Odd,
    )
} | {
    "Unprintable": Unprintable,
    "SubclassOfStop": lambda: type("SubclassOfStop", (StopIteration,), {})("planned"),
    "ExceptionGroup": lambda: ExceptionGroup("planned", [ValueError("member")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("planned", [Odd("member")]),
}  # fmt: skip
CANCELLATIONS: dict[str, Callable[[], BaseException]] = {
    "asyncio's": lambda: asyncio.CancelledError("planned"),
    "ours": lambda: CancelledError("planned"),
}
"""Nobody has asked for them: they come from user code, like other errors, or are left over from a scope of its own."""

ALL = KINDS | CANCELLATIONS


execution: WorkflowExecution = "event_loop"
"""Where the workers of the tests run workflow code; see `conftest`."""


def blow(kind: str) -> None:
    """Raise that error."""
    error = ALL[kind]()
    raise error


@workflow.defn
class Other:
    """Shows that the worker still works."""

    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(0.001)
        return "ok"


@dataclass
class World:
    """A worker, and a client whose converter is harmless."""

    client: Client
    queue: str
    started: list[Handle] = field(default_factory=list)

    async def start(
        self, run: Any, *args: Any, id: str, signal: tuple[str, str] | None = None
    ) -> Handle:
        options: dict[str, Any] = {}
        if signal is not None:
            options = {"start_signal": signal[0], "start_signal_args": [signal[1]]}
        handle = await self.client.start_workflow(
            run, args=args, id=id, task_queue=self.queue, **options
        )
        self.started.append(handle)
        return handle

    async def reported_of_update(self, handle: Handle, name: str, kind: str) -> Failure:
        """What is reported of the run while an update of it waits for its outcome, or of the update."""
        update = asyncio.ensure_future(handle.execute_update(name, kind))
        report = asyncio.ensure_future(reported(handle))
        try:
            await asyncio.wait([update, report], return_when="FIRST_COMPLETED")
            if not update.done():
                return await report
            failed = update.exception()
            assert failed is not None
            return Failure(message=repr(failed.__cause__))
        finally:
            for each in (update, report):
                each.cancel()
            await asyncio.gather(update, report, return_exceptions=True)


@asynccontextmanager
async def worker(
    workflows: Sequence[type],
    *,
    activities: Sequence[Callable[..., Any]] = (),
    converter: DataConverter = DataConverter.default,
    **options: Any,
) -> AsyncGenerator[World]:
    """A worker with two slots for each kind of task; afterwards, another workflow must run and the worker must end."""
    async with await Client.connect("memory:") as client:
        config = client.config()
        config["data_converter"] = converter
        theirs = Client(**config)
        world = World(client, "escapes")
        serving = Worker(
            theirs,
            task_queue=world.queue,
            workflows=[*workflows, Other],
            activities=activities,
            max_concurrent_workflow_tasks=2,
            max_concurrent_activities=2,
            max_concurrent_local_activities=2,
            workflow_execution=execution,
            **options,
        )
        async with serving:
            yield world
            # Two at once: both slots must be there.
            both = [await world.start(Other.run, id=f"other-{n}") for n in range(2)]
            assert [await each.result() for each in both] == ["ok", "ok"]
            for handle in world.started:
                await _end(handle)


async def _end(handle: Handle) -> None:
    described = await handle.describe()
    if described.close_time is None:
        await handle.terminate()


async def reported(handle: Handle) -> Failure:
    """The failure of the run's first workflow task that failed, or of the run."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if (found := _failure_of(event)) is not None:
            return found
    raise AssertionError("the workflow ended without a failure")


def _failure_of(event: history.HistoryEvent) -> Failure | None:
    match event.event_type:
        case enums.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return event.workflow_task_failed_event_attributes.failure
        case enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            return event.workflow_execution_failed_event_attributes.failure
        case enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
            return Failure(message="canceled")
        case _:
            return None


def names(found: Failure, kind: str) -> bool:
    """Whether a failure says which error was raised; a coroutine turns StopIteration into another error."""
    if kind in CANCELLATIONS:
        return "ancel" in str(found)
    known = {kind, "StopIteration"} if kind == "SubclassOfStop" else {kind}
    if kind in ("StopIteration", "StopAsyncIteration", "SubclassOfStop"):
        known.add("RuntimeError")
    text = str(found)
    return any(each in text for each in known)


async def every_kind(check: Callable[[str], Awaitable[Failure]]) -> None:
    """Check each kind of error, all of them at once; what is reported names the error."""
    found = await asyncio.gather(*(check(kind) for kind in ALL))
    wrong = [
        (kind, each.message) for kind, each in zip(ALL, found, strict=True) if not names(each, kind)
    ]
    assert wrong == [], wrong
