"""What a worker forgets of runs: those whose answer was never sent, and those that have ended."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from perdure import workflow
from perdure.converter import PayloadCodec
from perdure.wire import errors
from perdure.wire.api import common, enums, history
from perdure.wire.events import event
from tests.unit.worker.test_task_answers import (
    COMPLETED,
    FAILED,
    QUERIED,
    Codec,
    Poll,
    Server,
    answers_to,
    changed,
    task,
    working,
)


class Forgetful(Codec):
    """Has no key at first."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 1

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        if self.failures:
            self.failures -= 1
            raise PermissionError("no key yet")
        return list(payloads)


async def test_a_run_whose_answer_was_never_sent_begins_anew() -> None:
    found = await answers_to(task("Ends"), task("Ends"), codec=Forgetful())
    assert [name for name, _ in found] == [FAILED, COMPLETED]
    (command,) = found[1][1].commands
    assert command.command_type == enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION


def finished_query() -> Poll:
    """A query of a run that has ended."""
    poll = task("Ends", query="length")
    attributes: list[Any] = [
        history.WorkflowTaskCompletedEventAttributes(scheduled_event_id=2, started_event_id=3),
        history.WorkflowExecutionCompletedEventAttributes(
            result=common.Payloads(
                payloads=[common.Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')]
            ),
            workflow_task_completed_event_id=4,
        ),
    ]
    poll.history.events.extend(
        event(each, event_id=index + 4) for index, each in enumerate(attributes)
    )
    poll.started_event_id, poll.previous_started_event_id = 0, 3
    return poll


async def kept_after(
    *tasks: Poll,
    codec: PayloadCodec | None = None,
    cached: int = 10,
    answers: dict[str, Callable[[Any], Any]] | None = None,
) -> tuple[int, Server]:
    """How many workflows the worker still has in memory when it has worked off these tasks."""
    server = Server(tasks, answers or {})
    others = alive("Waits", "Ends")
    async with working(server, codec, max_cached_workflows=cached), asyncio.timeout(60):
        await server.all_taken.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        number = len(alive("Waits", "Ends").keys() - others.keys())
    return number, server


def alive(*names: str) -> dict[int, Any]:
    """All objects of classes with these names by their ids, also those that earlier tests have left."""
    return {id(each): each for each in gc.get_objects() if type(each).__name__ in names}


def refusing(error: errors.RpcError) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise error

    return answer


WRONG: dict[str, tuple[Poll, PayloadCodec | None, dict[str, Callable[[Any], Any]], str]] = {
    "refused": (
        task("Waits"),
        None,
        {COMPLETED: refusing(errors.InvalidArgument("no"))},
        COMPLETED,
    ),
    "gone": (task("Waits"), None, {COMPLETED: refusing(errors.not_found("gone"))}, COMPLETED),
    "never sent": (task("Ends"), Codec(encodes=False), {}, FAILED),
    "mismatched": (changed(1), None, {}, FAILED),
    "ended": (task("Ends"), None, {}, COMPLETED),
}


async def test_a_run_that_waits_is_kept() -> None:
    number, _ = await kept_after(task("Waits"))
    assert number == 1


@pytest.mark.parametrize("how", WRONG)
async def test_a_run_that_went_wrong_or_ended_is_not_kept(how: str) -> None:
    poll, codec, answers, told = WRONG[how]
    number, server = await kept_after(poll, codec=codec, answers=answers)
    assert server.names()[-1] == told
    assert number == 0


async def test_a_cache_of_one_keeps_the_last_run() -> None:
    number, _ = await kept_after(*(task("Waits", run_id=str(n)) for n in range(3)), cached=1)
    assert number == 1


async def test_a_run_that_was_asked_after_its_end_is_not_kept() -> None:
    number, server = await kept_after(finished_query(), finished_query())
    assert server.names() == [QUERIED, QUERIED]
    for _, request in server.answers():
        assert [each.data for each in request.query_result.payloads] == [b"5"]
    assert number == 0


async def test_nothing_is_kept_of_tasks_that_were_worked_off() -> None:
    server = Server([task("Waits", run_id=str(number)) for number in range(3)], {})
    others = alive("_InHand")
    async with working(server), asyncio.timeout(60):
        await server.all_taken.wait()
        assert not alive("_InHand").keys() - others.keys()
    assert server.names() == [COMPLETED] * 3


CLEANED: list[str] = []


@workflow.defn
class Cleans:
    @workflow.run
    async def run(self, _text: str) -> None:
        try:
            await workflow.wait_condition(lambda: False)
        finally:
            CLEANED.append(workflow.info().run_id)


async def test_a_worker_that_ends_tears_down_every_run_that_it_kept() -> None:
    CLEANED.clear()
    server = Server([task("Cleans", run_id=str(number)) for number in range(3)], {})
    async with working(server, workflows=[Cleans]), asyncio.timeout(60):
        await server.all_taken.wait()
        assert CLEANED == []
    assert sorted(CLEANED) == ["0", "1", "2"], "when the worker has ended, not some time later"


async def test_a_cache_lets_go_of_the_runs_that_were_used_least() -> None:
    CLEANED.clear()
    runs = [task("Cleans", run_id=str(number)) for number in range(5)]
    server = Server(runs, {})
    async with (
        working(server, workflows=[Cleans], max_cached_workflows=2),
        asyncio.timeout(60),
    ):
        await server.all_taken.wait()
        await asyncio.sleep(0)
        assert CLEANED == ["0", "1", "2"]
