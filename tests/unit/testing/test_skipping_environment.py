"""Who unlocks time, and that each lock comes back. The worker is raw calls, so that every moment is known."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.client import (
    Interceptor,
    OutboundInterceptor,
    RPCError,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowHistoryEventFilterType,
)
from perdure.client.history import WorkflowHistoryEventAsyncIterator
from perdure.client.inputs import FetchWorkflowHistoryEventsInput
from perdure.testing import WorkflowEnvironment
from perdure.testing.time_skipping import _UnlockedEvents
from perdure.wire.api import command
from tests.harness import builders
from tests.harness.builders import complete_workflow
from tests.unit.testing.hosted import backend_of, environment, hosted, locks, settle, start
from tests.unit.testing.stage import Stage, staged, timer

DAY_S = 86_400.0
CLOSE = WorkflowHistoryEventFilterType.CLOSE_EVENT
ALL = WorkflowHistoryEventFilterType.ALL_EVENT


def continue_as_new() -> command.Command:
    return builders.continue_as_new(workflow_type={"name": "T"}, task_queue={"name": "q"})


# Waiting for a result.


@hosted
async def test_time_is_unlocked_exactly_while_a_result_is_awaited(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    handle = await start(env)
    await stage.complete_next(timer(DAY_S))
    await asyncio.sleep(30)
    assert (locks(stage), stage.time.skips) == ((1, 0), 0)
    waiting = asyncio.ensure_future(handle.result())
    await settle()
    assert locks(stage) == (0, 0)
    await stage.complete_next(complete_workflow())
    assert await waiting is None
    assert (locks(stage), stage.time.skips) == ((1, 0), 1)
    await stage.started_run("other", timer(DAY_S))
    await asyncio.sleep(30)
    assert stage.time.skips == 1


@hosted
async def test_each_of_several_waits_has_an_unlock_of_its_own(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    handles = [await start(env, f"w{each}") for each in range(3)]
    waiting = [asyncio.ensure_future(handle.result()) for handle in handles]
    await settle()
    assert locks(stage) == (-2, 0)
    for left in (-1, 0, 1):
        await stage.complete_next(complete_workflow())
        await settle()
        assert locks(stage) == (left, 0)
    await asyncio.gather(*waiting)


ENDS: dict[str, type[BaseException]] = {
    "terminated": WorkflowFailureError,
    "given up": asyncio.CancelledError,
    "too late": TimeoutError,
    "unknown": RPCError,
}


@pytest.mark.parametrize("end", ENDS)
def test_time_is_locked_again_whatever_ends_a_wait(end: str) -> None:
    async def play(stage: Stage) -> None:
        env = environment(stage)
        handle = await start(env)
        if end == "unknown":
            with pytest.raises(RPCError):
                await env.client.get_workflow_handle("nobody").result()
            assert locks(stage) == (1, 0)
            return
        waiting = asyncio.ensure_future(asyncio.wait_for(handle.result(), 60))
        await settle()
        assert locks(stage) == (0, 0)
        if end == "terminated":
            await handle.terminate()
        elif end == "given up":
            waiting.cancel()
        with pytest.raises(ENDS[end]):
            await waiting
        assert locks(stage) == (1, 0)

    staged(play)()


@hosted
async def test_a_chain_of_runs_is_one_wait(stage: Stage, env: WorkflowEnvironment) -> None:
    handle = await start(env)
    waiting = asyncio.ensure_future(handle.result())
    for _ in range(3):
        await stage.complete_next(continue_as_new())
        await settle()
        assert locks(stage) == (0, 0)
    await asyncio.sleep(10)
    await stage.complete_next(complete_workflow())
    await waiting
    assert locks(stage) == (1, 0)
    with pytest.raises(WorkflowContinuedAsNewError):
        await handle.result(follow_runs=False)
    assert locks(stage) == (1, 0)


# What else is read.


@pytest.mark.parametrize(
    ("waits", "kind", "expected"),
    [(True, CLOSE, 0), (True, ALL, 1), (False, CLOSE, 1), (False, ALL, 1)],
)
def test_only_waiting_for_the_end_unlocks(
    waits: bool, kind: WorkflowHistoryEventFilterType, expected: int
) -> None:
    async def play(stage: Stage) -> None:
        env = environment(stage)
        handle = await start(env)
        key = await stage.key("w")
        await stage.engine.committer.flush()
        stage.forget(key)
        stage.faults.load_gate.clear()  # so that reads take as long as waits
        events = handle.fetch_history_events(wait_new_event=waits, event_filter_type=kind)
        page = asyncio.ensure_future(events.fetch_next_page(page_size=3))
        await settle()
        assert locks(stage) == (expected, 0)
        stage.faults.load_gate.set()
        if waits and kind is CLOSE:
            await settle()
            await stage.complete_next(complete_workflow())
        await page
        assert locks(stage) == (1, 0)

    staged(play)()


@hosted
async def test_what_is_awaited_is_passed_on_as_it_is(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    handle = await start(env)
    key = await stage.key("w")
    await stage.complete_next(complete_workflow())
    events: Any = handle.fetch_history_events(wait_new_event=True, event_filter_type=CLOSE)
    assert isinstance(events, _UnlockedEvents)
    assert (events.current_page, events.current_page_index, events.next_page_token) == (
        None,
        0,
        None,
    )
    last = (await stage.history(key))[-1]
    assert [event async for event in events] == [last]
    assert (events.current_page, events.current_page_index) == ([last], 1)
    whole: Any = _UnlockedEvents(handle.fetch_history_events(), backend_of(env))
    await whole.fetch_next_page(page_size=2)
    assert len(whole.current_page) == 2
    assert whole.next_page_token
    assert (await anext(whole)).event_id == 1
    assert whole.current_page_index == 1
    assert locks(stage) == (1, 0)


class Watching(Interceptor):
    """What an interceptor of the user's gets to see."""

    def __init__(self) -> None:
        self.seen: list[WorkflowHistoryEventAsyncIterator] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _WatchingOutbound(next, self)


class _WatchingOutbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, watching: Watching) -> None:
        super().__init__(next)
        self._watching = watching

    def fetch_workflow_history_events(
        self, input: FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        events = super().fetch_workflow_history_events(input)
        self._watching.seen.append(events)
        return events


@staged
async def test_the_environments_interceptors_are_inside_those_of_the_client(stage: Stage) -> None:
    watching = Watching()
    env = environment(stage, watching)
    handle = await start(env)
    await stage.complete_next(complete_workflow())
    await handle.result()
    assert [type(events) for events in watching.seen] == [_UnlockedEvents]


# Disabled for a while.


@hosted
async def test_blocks_without_skipping_nest(stage: Stage, env: WorkflowEnvironment) -> None:
    """Inside of two blocks, between their ends, and after them."""
    handle = await start(env)

    async def locks_while_waiting() -> tuple[int, int]:
        waiting = asyncio.ensure_future(handle.result())
        await settle()
        seen = locks(stage)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert locks(stage) == (1, 0)
        return seen

    assert await locks_while_waiting() == (0, 0)
    with env.auto_time_skipping_disabled():
        with env.auto_time_skipping_disabled():
            assert await locks_while_waiting() == (1, 0)
        assert await locks_while_waiting() == (1, 0)
        with pytest.raises(ValueError, match="no"), env.auto_time_skipping_disabled():
            raise ValueError("no")
        assert await locks_while_waiting() == (1, 0)
    assert await locks_while_waiting() == (0, 0)
    with pytest.raises(ValueError, match="no"), env.auto_time_skipping_disabled():
        raise ValueError("no")
    assert await locks_while_waiting() == (0, 0)


@hosted
async def test_a_wait_locks_what_it_unlocked_and_no_more_across_such_a_block(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    first, second = await start(env, "first"), await start(env, "second")
    before = asyncio.ensure_future(first.result())
    await settle()
    with env.auto_time_skipping_disabled():
        within = asyncio.ensure_future(second.result())
        await settle()
        assert locks(stage) == (0, 0)
        await stage.complete_next(complete_workflow())
        await before
        assert locks(stage) == (1, 0)
    await stage.complete_next(complete_workflow())
    await within
    assert locks(stage) == (1, 0)


@hosted
async def test_sleeping_skips_in_such_a_block_as_well(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    with env.auto_time_skipping_disabled():
        await env.sleep(DAY_S)
    assert DAY_S <= stage.now_s < DAY_S + 1
