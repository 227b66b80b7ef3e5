"""One simulated run of a user's workflow: a node, a worker, a client, and faults at given moments.

The database outlives every node. Virtual time passes in two ways: the loop's time for what runs, and skipped test time
for what only waits, so that a month of sleep costs nothing. Killing a process freezes it (`loop.Process`).

Invariant: the same scenario, seed and faults give the same run. Not here: choosing faults (`search`).
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.client import Client, WorkflowFailureError
from perdure.core.ids import EntityKind, new_id, seeded_ids
from perdure.core.limits import DEFAULT_LIMITS
from perdure.core.units import SECOND_NS
from perdure.server.node.node import open_node
from perdure.server.time_skipping.rpcs import table
from perdure.service import ConnectConfig, RetryConfig, RPCError, ServiceClient
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.testing.assertions import AssertionErrors
from perdure.testing.simulation import faults as f
from perdure.testing.simulation import signals
from perdure.testing.simulation.activities import NoThreads, SimulatedActivities
from perdure.testing.simulation.disk import DiskFaults, SimExecutor
from perdure.testing.simulation.loop import Process, SimClock, SimLoop
from perdure.testing.simulation.network import Endpoint, NetworkFaults, SimConnection
from perdure.testing.simulation.outcome import Execution, NeverFinished, Outcome
from perdure.testing.simulation.scenario import TASK_QUEUE, WORKFLOW_ID, stuck
from perdure.testing.simulation.time import SimTime
from perdure.worker import Worker

if TYPE_CHECKING:
    from perdure.server.node.node import Node
    from perdure.server.shards.group import Group
    from perdure.testing.simulation.scenario import Scenario
    from perdure.wire.seam import Method

F = TypeVar("F", bound=f.Fault)

SHARDS = 1
LINGER_NS = 5 * SECOND_NS
"""How long after the end late effects may still happen, beyond the longest delay of a fault."""
ASK_AGAIN_S = 120.0
STEPS_MAX = 20_000
ATTEMPTS_MAX = 12
"""Number of failed workflow-task attempts in a row after which a workflow counts as stuck."""
_PATIENT = RetryConfig(max_elapsed_time_millis=None, max_retries=0)
"""For calls that the simulation itself depends on: they are retried until the server is back."""


def play(scenario: Scenario, seed: int, faults: Sequence[f.Fault]) -> Outcome:
    """Run the scenario once.

    Args:
        scenario: What is run.
        seed: Seed of delays, ids and the workflow's own randomness.
        faults: The faults to inject.
    """
    return Universe(scenario, seed, faults).run()


class Universe:
    """The node, worker, client and faults of one simulated run."""

    def __init__(self, scenario: Scenario, seed: int, faults: Sequence[f.Fault]) -> None:
        self.random = Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._scenario, self._faults = scenario, faults
        self._fired: set[int] = set()
        self._loop = SimLoop()
        self._time = SimTime(
            SimClock(self._loop),
            is_busy=lambda: self._calls > 0 or self._is_executing(),
            is_alive=self._is_alive,
            stepped=self._stepped,
        )
        self._network = NetworkFaults.none()
        self._disk = DiskFaults(self.random)
        self._disk.stall_chance = 0.0
        self._endpoint = Endpoint()
        self._database = connect_memory(SHARDS)
        self._processes: list[Process] = []
        self._node_process: Process | None = None
        self._worker: Process | None = None
        self._activities: Sequence[Callable[..., Any]] = ()
        self._calls = 0
        self._executing: Counter[Process] = Counter()
        self._broken: BaseException | None = None
        self._begun: Counter[str] = Counter()
        self._steps = self._began_ns = 0
        self._seed = seed
        self.outcome = Outcome(seed, tuple(faults))

    def run(self) -> Outcome:
        """Play it to its end."""
        scenario, outcome = self._scenario, self.outcome
        outcome.world = scenario.world() if scenario.world is not None else None
        activities = scenario.activities
        self._activities = activities(outcome.world) if callable(activities) else activities
        ids = Random(self._seed ^ 0x5EED)  # noqa: S311 - to be repeated, not to be secret
        with seeded_ids(ids):
            try:
                self._loop.run(self._main())
            finally:
                self._bury()
                self._database.close()
        return outcome

    def _bury(self) -> None:
        before, sys.unraisablehook = sys.unraisablehook, _ignore
        try:
            for process in self._processes:
                process.bury()
        finally:
            sys.unraisablehook = before

    async def _main(self) -> None:
        self._stuck: asyncio.Future[str] = self._loop.create_future()
        self._world_context = copy_context()
        await self._start_node()
        self._start_worker()
        client = self._client("user", _PATIENT)
        self._began_ns = self._time.clock.now_ns()
        with self._calling():
            handle = await client.start_workflow(
                self._scenario.run,
                args=self._scenario.args,
                id=WORKFLOW_ID,
                task_queue=TASK_QUEUE,
                **self._scenario.options,
            )
        signalling = asyncio.create_task(self._send_signals(self._client("sender")), name="signals")
        signalling.add_done_callback(self._ended)
        await self._finish(asyncio.create_task(handle.result(), name="result"))
        signalling.cancel()
        if self._broken is not None:
            raise self._broken
        if self._stuck.done():
            self.outcome.error = NeverFinished(self._stuck.result())
        else:
            await self._time.sleep_ns(LINGER_NS + self._longest_ns())
        run = client.get_workflow_handle(WORKFLOW_ID, run_id=handle.result_run_id)
        history = await run.fetch_history()
        self.outcome.events = history.events

    async def _finish(self, result: asyncio.Task[Any]) -> None:
        patience_ns = int(self._scenario.patience.total_seconds() * SECOND_NS)
        patience = asyncio.create_task(self._time.sleep_ns(patience_ns), name="patience")
        await asyncio.wait((result, patience, self._stuck), return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        if not self._stuck.done():
            # The caller may be about to retry after a crash of the server; give it time to do so.
            await asyncio.wait((result,), timeout=ASK_AGAIN_S)
        if not result.done():
            result.cancel()
            if not self._stuck.done():
                self._stuck.set_result("nothing can happen any more, and the workflow still waits")
            return
        try:
            self.outcome.result = result.result()
        except WorkflowFailureError as error:
            self.outcome.error = error.cause

    def _longest_ns(self) -> int:
        return max((getattr(fault, "delay_ns", 0) for fault in self._faults), default=0)

    # Signals.

    async def _send_signals(self, client: Client) -> None:
        handle = client.get_workflow_handle(WORKFLOW_ID)
        for sending in signals.plan(self._scenario.signals, self._faults):
            await self._time.sleep_until(self._began_ns + sending.after_ns)
            signal = sending.signal
            said = f"signal {sending.number} ({signal.name})"
            for _ in range(sending.copies):
                self.note(f"{said} is sent")
                try:
                    with self._calling():
                        await handle.signal(signal.signal, args=signal.args)
                except RPCError as error:
                    self.note(f"{said} fails for its sender: {error.message}")

    # Activities.

    def began(self, name: str, args: Sequence[Any], attempt: int, timeout_ns: int) -> Execution:
        """An execution begins."""
        self._begun[name] += 1
        record = Execution(name, tuple(args), attempt, self._begun[name], timeout_ns)
        self.outcome.executions.append(record)
        return record

    def faults_of(self, record: Execution, kind: type[F]) -> list[F]:
        """The faults of this kind that concern this execution."""
        found = [each for each in self._faults if isinstance(each, kind)]
        return [
            each
            for each in found
            if getattr(each, "activity", "") == record.activity
            and getattr(each, "execution", 0) == record.number
        ]

    async def pause(self, length_ns: int) -> None:
        """An attempt waits because of a fault."""
        await self._time.sleep_ns(length_ns)
        self._time.moved()

    @contextmanager
    def executing(self, process: Process) -> Generator[None]:
        """The user's function runs: test time is not skipped."""
        self._executing[process] += 1
        try:
            yield
        finally:
            self._executing[process] -= 1
            self._time.moved()

    def _is_executing(self) -> bool:
        return any(count and process.is_alive for process, count in self._executing.items())

    @contextmanager
    def _calling(self) -> Generator[None]:
        """A call is on its way: test time is not skipped."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def _is_alive(self, identity: str) -> bool:
        return self._worker is not None and self._worker.name == identity

    def note(self, what: f.Fault | str) -> None:
        """Say that something happened."""
        text = what if isinstance(what, str) else what.words()
        at_s = (self._time.clock.now_ns() - self._began_ns) / SECOND_NS
        self.outcome.notes.append(f"{at_s:12.3f} s  {text}")

    # Processes.

    def _process(self, name: str) -> Process:
        process = Process(name)
        self._processes.append(process)
        return process

    async def _start_node(self) -> None:
        process = self._process("server")
        opened: asyncio.Future[Node] = self._loop.create_future()

        async def open_it() -> None:
            node = await open_node(
                open_memory(executor=SimExecutor(self._disk), connection=self._database),
                clock=self._time.clock,
                new_id=new_id,
                limits=DEFAULT_LIMITS,
                matching_clock=self._time.real,
                rpcs=table(self._time),
            )
            await self._time.reopen(node.engine, node.matching)
            opened.set_result(node)

        self._node_process = process
        process.spawn(open_it(), "open").add_done_callback(
            lambda done: opened.set_exception(error) if (error := done.exception()) else None
        )
        node = await opened

        async def dispatch(
            method: Method,
            request: Any,
            metadata: Mapping[str, str | bytes],
            timeout_ns: int | None,
        ) -> Any:
            return await node.frontend.dispatch(method, request, metadata, timeout_ns)

        self._endpoint.up(process, dispatch)

    def _kill_node(self, down_ns: int) -> None:
        if self._node_process is None:
            return
        self._node_process.kill()
        self._endpoint.down()
        self._node_process = None
        assert not self._database.in_transaction, "each job of the store is a whole transaction"

        async def restart() -> None:
            await self._time.flow_ns(down_ns)
            await self._start_node()
            self.note("the server is back")

        self._spawn(restart(), "restart of the server")

    def _client(self, name: str, retry: RetryConfig | None = None) -> Client:
        config = ConnectConfig(target_host="simulation", identity=name, retry_config=retry)
        connection = SimConnection(self._endpoint, self._network, self.random, name)
        return Client(ServiceClient(config, connection), interceptors=[AssertionErrors()])

    def _start_worker(self) -> None:
        process = self._process(f"worker-{len(self._processes)}")

        async def work() -> None:
            worker = Worker(
                self._client(process.name),
                task_queue=TASK_QUEUE,
                workflows=self._scenario.workflows,
                activities=self._activities,
                activity_executor=NoThreads(),
                interceptors=[SimulatedActivities(self, process)],
                max_concurrent_workflow_task_polls=2,
                max_concurrent_activity_task_polls=2,
            )
            await worker.run()

        process.spawn(work(), "run").add_done_callback(self._ended)
        self._worker = process

    def _ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self.break_off(error)

    def break_off(self, error: BaseException) -> None:
        """Report an error of the test, not of the workflow: `run` raises it."""
        self._broken = error
        self._give_up(str(error))

    def kill_worker(self, down_ns: int) -> None:
        """Kill the worker process; another one starts after `down_ns` of test time."""
        if self._worker is None:
            return
        self._worker.kill()
        self._endpoint.reset(self._worker.name)
        self._worker = None

        async def restart() -> None:
            await self._time.sleep_ns(down_ns)
            self._start_worker()
            self.note("another worker is up")

        self._spawn(restart(), "restart of the worker")

    def _spawn(self, work: Any, name: str) -> None:
        """Start a task that belongs to the world, not to the calling process."""
        self._world_context.copy().run(self._loop.create_task, work, name=name)

    # Moments.

    def _stepped(self, group: Group) -> None:
        """The node took a step. Faults may strike when it is durable. The simulated disk refuses nothing."""
        self._steps += 1
        if self._steps > STEPS_MAX:
            self._give_up(f"{STEPS_MAX} steps, and no end (retries without a limit?)")
        for entry in group.entries:
            if entry.key.kind != EntityKind.RUN:
                continue
            task = entry.state.workflow_task
            if task is not None and task.attempt >= ATTEMPTS_MAX:
                self._give_up(stuck(entry.key.name))
            if entry.key.name != WORKFLOW_ID:
                continue
            length = entry.state.next_event_id - 1
            group.settled().add_done_callback(
                lambda _, length=length: self._reached(length),
                context=self._world_context,
            )

    def _give_up(self, why: str) -> None:
        if not self._stuck.done():
            self._stuck.set_result(why)

    def _reached(self, length: int) -> None:
        if length > max(self.outcome.points, default=0):
            self.outcome.points.append(length)
        for number, fault in enumerate(self._faults):
            if number in self._fired or not isinstance(fault, f.WorkerDies | f.ServerDies):
                continue
            if length >= fault.after_event:
                self._fired.add(number)
                self.note(fault)
                if isinstance(fault, f.WorkerDies):
                    self.kill_worker(fault.down_ns)
                else:
                    self._kill_node(fault.down_ns)


def _ignore(_unraisable: object) -> None:
    """Ignore errors of frozen tasks when they are closed."""
