"""The simulated network: what each fault does to a call, at which virtual time, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

import pytest
from google.protobuf.message import Message

from perdure.testing.simulation.loop import Process, SimLoop
from perdure.testing.simulation.network import Endpoint, NetworkFaults, SimConnection
from perdure.wire import errors
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE, Method

DESCRIBE = WORKFLOW_SERVICE["DescribeNamespace"]
POLL = WORKFLOW_SERVICE["PollWorkflowTaskQueue"]
REQUEST = pb.DescribeNamespaceRequest(namespace="shop")
SEEDS = range(20)
SECOND_NS = 1_000_000_000


class Node:
    """Answers calls after `work_s`, and remembers when they came and how they ended."""

    def __init__(self, work_s: float = 0.0) -> None:
        self.work_s = work_s
        self.came_at_s: list[float] = []
        self.ended: list[str] = []
        self.requests: list[Any] = []
        self.metadata: list[Mapping[str, str | bytes]] = []
        self.timeouts_ns: list[int | None] = []
        self.answer: Message = pb.DescribeNamespaceResponse()
        self.error: Exception | None = None

    async def dispatch(
        self,
        method: Method,
        request: Message,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
    ) -> Message:
        self.came_at_s.append(asyncio.get_running_loop().time())
        self.requests.append(request)
        self.metadata.append(metadata)
        self.timeouts_ns.append(timeout_ns)
        try:
            await asyncio.sleep(self.work_s)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        if self.error is not None:
            raise self.error
        return method.response_type() if method is POLL else self.answer


class Bench:
    """A node behind an endpoint, and one connection to it."""

    def __init__(self, node: Node, seed: int, **faults: Any) -> None:
        self.node = node
        self.process = Process("node")
        self.endpoint = Endpoint()
        self.endpoint.up(self.process, node.dispatch)
        quiet: dict[str, Any] = vars(NetworkFaults.none()) | {"delay_max_s": 0.0}
        self.faults = NetworkFaults(**(quiet | faults))
        self.random = Random(seed)
        self.connection = self.client("me")

    def client(self, name: str) -> SimConnection:
        return SimConnection(self.endpoint, self.faults, self.random, name)

    async def outcome(self, method: Method = DESCRIBE, **options: Any) -> tuple[str, float]:
        """How a call ended, and when."""
        loop = asyncio.get_running_loop()
        request = REQUEST if method is DESCRIBE else pb.PollWorkflowTaskQueueRequest()
        try:
            await self.connection.call(method, request, **options)
        except errors.RpcError as error:
            return type(error).__name__, loop.time()
        return "answered", loop.time()


def play(
    work: Callable[[Bench], Awaitable[Any]], *, seed: int = 0, work_s: float = 0.0, **faults: Any
) -> Any:
    async def main() -> Any:
        return await work(Bench(Node(work_s), seed, **faults))

    return SimLoop().run(main())


@pytest.mark.parametrize(
    ("faults", "longest_s"),
    [({"delay_max_s": 1.0}, 1.0), ({"late_chance": 1.0, "late_s": 8.0}, 8.0)],
)
def test_both_ways_take_time(faults: dict[str, float], longest_s: float) -> None:
    async def work(bench: Bench) -> tuple[float, float]:
        how, ended_s = await bench.outcome()
        assert how == "answered"
        (came_s,) = bench.node.came_at_s
        return came_s, ended_s - came_s

    ways_s = [way_s for seed in SEEDS for way_s in play(work, seed=seed, **faults)]
    assert all(0 < way_s <= longest_s for way_s in ways_s)
    assert max(ways_s) > longest_s / 2
    assert len(set(ways_s)) == len(ways_s)


def test_only_some_calls_are_late() -> None:
    async def work(bench: Bench) -> bool:
        _, ended_s = await bench.outcome()
        return ended_s > 1

    late = [
        play(work, seed=seed, late_chance=0.3, late_s=1_000.0, delay_max_s=0.1)
        for seed in range(40)
    ]
    assert 0 < sum(late) < len(late)


def test_a_quiet_network_loses_nothing() -> None:
    async def work(bench: Bench) -> None:
        for _ in range(200):
            assert (await bench.outcome())[0] == "answered"
        assert len(bench.node.ended) == 200

    play(work, **vars(NetworkFaults.none()))


@pytest.mark.parametrize(
    ("fault", "calls"),
    [({"lose_request": 1.0}, 0), ({"partitioned": True}, 0), ({"lose_response": 1.0}, 1)],
)
def test_what_is_lost_is_an_error_or_silence(fault: dict[str, Any], calls: int) -> None:
    async def work(bench: Bench) -> tuple[str, float]:
        ended = await bench.outcome(timeout_ns=5 * SECOND_NS)
        assert bench.node.ended == ["done"] * calls
        return ended

    ends = {play(work, seed=seed, **fault) for seed in SEEDS}
    assert ends == {("Unavailable", 0.0), ("DeadlineExceeded", 5.0)}


def test_a_partition_that_begins_during_the_call_loses_the_answer() -> None:
    async def work(bench: Bench) -> str:
        asyncio.get_running_loop().call_later(0.5, setattr, bench.faults, "partitioned", True)
        how, _ = await bench.outcome()
        assert bench.node.ended == ["done"]
        return how

    assert {play(work, seed=seed, work_s=1.0) for seed in SEEDS} == {
        "Unavailable",
        "DeadlineExceeded",
    }


def test_a_closed_connection_reaches_nobody() -> None:
    async def work(bench: Bench) -> str:
        await bench.connection.close()
        how, _ = await bench.outcome()
        assert bench.node.came_at_s == []
        return how

    assert {play(work, seed=seed) for seed in SEEDS} == {"Unavailable", "DeadlineExceeded"}


@pytest.mark.parametrize(("method", "times"), [(DESCRIBE, 2), (POLL, 1)])
def test_what_is_repeated_is_executed_twice_but_polls_are_not(method: Method, times: int) -> None:
    async def work(bench: Bench) -> tuple[float, ...]:
        assert (await bench.outcome(method))[0] == "answered"
        assert bench.node.ended == ["done"] * times
        return tuple(bench.node.came_at_s)

    for seed in SEEDS:
        came_s = play(work, seed=seed, repeat=1.0, delay_max_s=1.0)
        assert list(came_s) == sorted(set(came_s)), "one after the other"


def test_an_impatient_caller_breaks_the_call_off() -> None:
    async def work(bench: Bench) -> tuple[str, float]:
        how, ended_s = await bench.outcome()
        await asyncio.sleep(60)
        assert bench.node.ended == ["cancelled"]
        assert bench.endpoint.cancelled_by_others == []
        return how, ended_s

    ends = [play(work, seed=seed, impatient=1.0, work_s=1.0) for seed in SEEDS]
    assert {how for how, _ in ends} == {"Unavailable"}
    assert all(0 < ended_s < 0.01 for _, ended_s in ends)
    assert len({ended_s for _, ended_s in ends}) > 1


def test_a_deadline_is_the_callers_or_a_minute() -> None:
    async def work(bench: Bench) -> None:
        assert await bench.outcome(timeout_ns=5 * SECOND_NS) == ("DeadlineExceeded", 5.0)
        assert await bench.outcome() == ("DeadlineExceeded", 65.0)
        assert bench.node.timeouts_ns == [5 * SECOND_NS, None]
        await asyncio.sleep(1)
        assert bench.node.ended == ["cancelled"] * 2, "nobody waits any more"
        with pytest.raises(
            errors.DeadlineExceeded, match=r"DescribeNamespace: no answer in 5\.0 s"
        ):
            await bench.connection.call(DESCRIBE, REQUEST, timeout_ns=5 * SECOND_NS)

    play(work, work_s=1_000.0)


def test_a_caller_that_is_cancelled_withdraws_its_call() -> None:
    async def work(bench: Bench) -> None:
        call = asyncio.ensure_future(bench.outcome())
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(1)
        assert bench.node.ended == ["cancelled"]
        assert bench.endpoint.cancelled_by_others == []

    play(work, work_s=1_000.0)


def test_messages_are_copied_both_ways() -> None:
    async def work(bench: Bench) -> None:
        sent = pb.DescribeNamespaceRequest(namespace="shop")
        bench.node.answer = pb.DescribeNamespaceResponse(is_global_namespace=True)
        answer: Any = await bench.connection.call(DESCRIBE, sent, metadata={"a": "1"})
        assert answer == bench.node.answer
        assert answer is not bench.node.answer
        (arrived,) = bench.node.requests
        assert arrived == sent
        assert arrived is not sent
        await bench.connection.call(DESCRIBE, sent)
        assert bench.node.metadata == [{"a": "1"}, {}]

    play(work)


def test_every_error_travels_back() -> None:
    async def work(bench: Bench) -> None:
        bench.node.error = errors.NotFound("nothing")
        with pytest.raises(errors.NotFound, match="nothing"):
            await bench.connection.call(DESCRIBE, REQUEST)
        bench.node.error = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await bench.connection.call(DESCRIBE, REQUEST)

    play(work)


def test_a_node_that_is_down_refuses_and_one_that_goes_down_resets() -> None:
    async def work(bench: Bench) -> None:
        calls = [asyncio.ensure_future(bench.connection.call(DESCRIBE, REQUEST)) for _ in range(2)]
        await asyncio.sleep(1)
        assert bench.endpoint.is_up
        bench.process.kill()
        bench.endpoint.down()
        assert not bench.endpoint.is_up
        for call in calls:
            with pytest.raises(errors.Unavailable, match="connection reset"):
                await call
        with pytest.raises(errors.Unavailable, match="connection refused"):
            await bench.connection.call(DESCRIBE, REQUEST)
        again = Node()
        bench.endpoint.up(Process("again"), again.dispatch)
        assert (await bench.outcome())[0] == "answered"
        assert again.ended == ["done"]

    play(work, work_s=1_000.0)


def test_a_caller_that_is_killed_takes_its_own_calls_along() -> None:
    async def work(bench: Bench) -> None:
        other = bench.client("other")
        mine = [asyncio.ensure_future(bench.outcome()) for _ in range(2)]
        call = asyncio.ensure_future(other.call(DESCRIBE, REQUEST))
        await asyncio.sleep(1)
        bench.endpoint.reset("me")
        await call
        assert bench.node.ended == ["cancelled", "cancelled", "done"]
        assert bench.endpoint.cancelled_by_others == []
        for each in mine:
            each.cancel()
        bench.endpoint.reset("other")

    play(work, work_s=10.0)


def test_a_call_that_the_node_cancels_by_itself_is_noted() -> None:
    async def work(bench: Bench) -> None:
        call = asyncio.ensure_future(bench.outcome(timeout_ns=5 * SECOND_NS))
        await asyncio.sleep(1)
        for task in bench.process.tasks:
            task.cancel()
        assert (await call)[0] == "DeadlineExceeded"
        assert bench.node.ended == ["cancelled"]
        assert bench.endpoint.cancelled_by_others == ["DescribeNamespace"]

    play(work, work_s=1_000.0)


# The edges of a call: answers, crashes and withdrawals at the same moment ------------------------------


def test_nothing_is_kept_of_calls_that_have_ended(caplog: pytest.LogCaptureFixture) -> None:
    async def work(bench: Bench) -> None:
        await bench.outcome()
        bench.node.error = errors.NotFound("nothing")
        await bench.outcome()
        bench.node.work_s = 1_000.0
        assert bench.endpoint._open == {}
        await bench.outcome(timeout_ns=SECOND_NS)
        call = asyncio.ensure_future(bench.outcome())
        await asyncio.sleep(1)
        bench.endpoint.down()
        await call
        await asyncio.sleep(0)
        assert bench.endpoint._callers == {}
        assert bench.endpoint._open == {}

    play(work)
    assert caplog.records == []


@pytest.mark.parametrize("fails", [True, False])
def test_an_answer_to_a_connection_that_was_reset_is_lost(
    caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    async def work(bench: Bench) -> None:
        bench.node.error = errors.NotFound("nothing") if fails else None
        call = asyncio.ensure_future(bench.outcome())
        await asyncio.sleep(0.5)
        bench.endpoint.down()
        assert (await call)[0] == "Unavailable"
        await asyncio.sleep(1)
        assert bench.node.ended == ["done"]
        assert [task.exception() for task in bench.process.tasks] == [None]

    play(work, work_s=1.0)
    assert caplog.records == []


@pytest.mark.parametrize("fails", [True, False])
def test_a_crash_in_the_moment_of_the_answer(caplog: pytest.LogCaptureFixture, fails: bool) -> None:
    async def work(bench: Bench) -> str:
        async def answer(*_: Any) -> Message:
            asyncio.get_running_loop().call_soon(bench.endpoint.down)
            if fails:
                raise errors.NotFound("nothing")
            return pb.DescribeNamespaceResponse()

        bench.endpoint.up(bench.process, answer)
        how, _ = await bench.outcome()
        assert not bench.endpoint.is_up
        return how

    assert play(work) == ("NotFound" if fails else "answered")
    assert caplog.records == []


def test_an_answer_may_come_before_the_caller_breaks_off(caplog: pytest.LogCaptureFixture) -> None:
    async def work(bench: Bench) -> str:
        how, _ = await bench.outcome()
        assert bench.node.ended == ["done"]
        return how

    assert {play(work, seed=seed, impatient=1.0) for seed in SEEDS} == {"Unavailable"}
    assert caplog.records == []
