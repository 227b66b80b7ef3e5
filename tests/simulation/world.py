"""One seed's universe: a node on a database that survives it, workers, a client, and a schedule of faults.

The database is one SQLite connection that outlives every node, so what was committed survives a crash and what was
not vanishes. Killing a process freezes it (`loop.Process`). After the faults the world heals, and everything must
come to an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

from perdure.client import Client
from perdure.core.ids import new_id, seeded_ids
from perdure.core.units import SECOND_NS
from perdure.history.loader import load_run
from perdure.server.codec import decode_fact
from perdure.server.node import Node, open_node
from perdure.service import ConnectConfig, ServiceClient
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.testing.simulation.disk import DiskFaults, SimExecutor
from perdure.testing.simulation.loop import Process, SimClock, SimLoop
from perdure.testing.simulation.network import Endpoint, NetworkFaults, SimConnection
from perdure.wire.errors import RpcError
from perdure.worker import Worker
from tests.simulation import checks
from tests.simulation.ledger import Current, Ledger
from tests.simulation.workloads import ALL, Workload
from tests.simulation.workloads.base import TASK_QUEUE
from tests.stores.faults import FaultyStore

if TYPE_CHECKING:
    from perdure.storage.port import Store
    from perdure.wire.seam import Method

SHARDS = 3
WORKERS = 2
FAULTY_S = 25.0
"""For how long faults happen, in virtual seconds."""
CALM_LIMIT_S = 1_800.0
"""When the world has healed, everything must end within this."""


@dataclass
class Report:
    """What one world did."""

    seed: int
    workloads: Sequence[str]
    virtual_s: float = 0.0
    crashes: int = 0
    calls: int = 0
    digest: str = ""
    trace: list[str] = field(default_factory=list[str])


class World:
    """See the module."""

    def __init__(self, seed: int, workloads: Sequence[type[Workload]] | None = None) -> None:
        self.random = Random(seed)
        self.loop = SimLoop()
        self.clock = SimClock(self.loop)
        self.ledger = Ledger()
        self.disk = DiskFaults(self.random)
        self.network = NetworkFaults()
        self.endpoint = Endpoint()
        self.database = connect_memory(SHARDS)
        self.node: Node | None = None
        self.node_process: Process | None = None
        self.executor: SimExecutor | None = None
        self.store: FaultyStore | None = None
        self.has_small_cache = self.random.random() < 0.5
        self.processes: list[Process] = []
        self.workers: dict[int, Process] = {}
        self.has_row_sweep = bool(seed % 2)
        """Without it, transitions and pollers alone must keep the polled queue clean."""
        self.kinds = list(workloads or self.random.sample(ALL, 2))
        self.report = Report(seed, [kind.__name__ for kind in self.kinds])
        self._hash = hashlib.sha256()
        self._ids = Random(seed ^ 0x5EED)

    # Running.

    def run(self) -> Report:
        """Play the world to its end.

        Raises:
            AssertionError: A promise was not kept, or nothing can happen any more.
        """
        Current.ledger = self.ledger
        with seeded_ids(self._ids):
            try:
                self.loop.run(self._main())
            finally:
                self._bury()
                self.database.close()
        self.report.virtual_s = self.loop.time()
        self.report.digest = self._hash.hexdigest()
        return self.report

    def _bury(self) -> None:
        before, sys.unraisablehook = sys.unraisablehook, _ignore
        try:
            for process in self.processes:
                process.bury()
        finally:
            sys.unraisablehook = before

    async def _main(self) -> None:
        await self.start_node()
        for number in range(WORKERS):
            self.start_worker(number)
        client = self.client("user")
        drivers = [kind(client, self.ledger, self.random) for kind in self.kinds]
        faults = asyncio.create_task(self.faults(), name="faults")
        playing = asyncio.gather(*(driver.play() for driver in drivers))
        try:
            async with asyncio.timeout(FAULTY_S + CALM_LIMIT_S):
                await playing
        except TimeoutError:
            self.check_node_tasks()
            raise checks.Violation(
                f"not finished {CALM_LIMIT_S} virtual seconds after the last fault:"
                f" {sorted(self.ledger.started.keys() - self.ledger.results.keys())}"
            ) from None
        finally:
            faults.cancel()
        await self.heal()
        self.check_node_tasks()
        await self.check()

    async def check(self) -> None:
        checks.check_outcomes(self.ledger)
        checks.check_attempts(self.ledger)
        client = self.client("checker", NetworkFaults.none())
        for workflow_id, run_id in self.ledger.started.items():
            handle = client.get_workflow_handle(workflow_id, run_id=run_id)
            events = (await handle.fetch_history()).events
            checks.check_history(workflow_id, events)
            self.note(f"history {workflow_id} {len(events)}")
        await self.check_reload()
        await asyncio.sleep(120)  # what is stale may be noticed late
        if not self.has_row_sweep and self.node is not None:
            self.check_rows(f"tasks WHERE queue = '{TASK_QUEUE}'")
            sweep = self.node.engine._row_sweep
            await type(sweep).sweep(sweep)
        self.check_rows("tasks", "outbox", "wakes", "held")

    async def check_reload(self) -> None:
        """What is in memory is what a reload gives."""
        node = self.node
        assert node is not None
        engine = node.engine
        await engine.committer.flush()
        for entry in list(engine.cache.runs()):
            if entry.state is None or entry.pending is not None:
                continue
            stored = await engine._store.load(entry.key)
            assert stored is not None, entry.key
            facts = [decode_fact(row) for row in stored.facts]
            again = load_run(entry.key, [row.data for row in stored.events], facts).snapshot()
            memory = entry.state.snapshot()
            if memory != again:
                differing = {n: (memory[n], again[n]) for n in memory if memory[n] != again[n]}
                raise checks.Violation(f"{entry.key.name}: memory and storage differ: {differing}")

    def note(self, text: str) -> None:
        """Add to the trace."""
        line = f"{self.loop.time():.6f} {text}"
        self._hash.update(line.encode())
        self.report.trace.append(line)

    # Processes.

    def _process(self, name: str) -> Process:
        process = Process(name)
        self.processes.append(process)
        return process

    async def start_node(self) -> None:
        process = self._process(f"node-{self.report.crashes}")
        executor = SimExecutor(self.disk)
        opened: asyncio.Future[Node] = self.loop.create_future()

        async def open_it() -> None:
            store = FaultyStore(open_memory(executor=executor, connection=self.database))
            node = await open_node(cast("Store", store), clock=self.clock, new_id=new_id)
            if self.has_small_cache:
                node.engine.cache.bytes_max = (
                    1  # nearly every touch is a load, nearly every load an eviction
                )
            if not self.has_row_sweep:
                vars(node.engine._row_sweep)["sweep"] = _sweep_nothing
            self.store = store
            opened.set_result(node)

        self.node_process, self.executor = process, executor
        opening = process.spawn(open_it(), "open")
        opening.add_done_callback(
            lambda done: opened.set_exception(error) if (error := done.exception()) else None
        )
        node = await opened
        self.node = node

        async def dispatch(
            method: Method,
            request: Any,
            metadata: Mapping[str, str | bytes],
            timeout_ns: int | None,
        ) -> Any:
            self.report.calls += 1
            self.note(method.name)
            return await node.frontend.dispatch(method, request, metadata, timeout_ns)

        self.endpoint.up(process, dispatch)
        self.note("node up")

    def kill_node(self) -> None:
        if self.node_process is None or self.executor is None:
            return
        self.note("node killed")
        self.report.crashes += 1
        self.node_process.kill()
        self.executor.crash()
        self.endpoint.down()
        if self.database.in_transaction:
            self.database.rollback()
        checks.check_held(self.database)
        self.node = self.node_process = self.executor = None

    def client(self, name: str, faults: NetworkFaults | None = None) -> Client:
        connection = SimConnection(self.endpoint, faults or self.network, self.random, name)
        return Client(
            ServiceClient(ConnectConfig(target_host="simulation", identity=name), connection)
        )

    def start_worker(self, number: int) -> None:
        process = self._process(f"worker-{number}")

        async def work() -> None:
            worker = Worker(
                self.client(f"worker-{number}"),
                task_queue=TASK_QUEUE,
                workflows=[cls for kind in self.kinds for cls in kind.workflows],
                activities=[fn for kind in self.kinds for fn in kind.activities],
                max_cached_workflows=self.random.choice([0, 2, 100]),
            )
            await worker.run()

        process.spawn(work(), "run")
        self.workers[number] = process
        self.note(f"worker {number} up")

    def kill_worker(self, number: int) -> None:
        self.note(f"worker {number} killed")
        self.workers[number].kill()

    def check_node_tasks(self) -> None:
        """A part of a node that died by an exception would leave the node deaf; a crash must not hide it."""
        if self.endpoint.cancelled_by_others:
            raise checks.Violation(
                f"calls were cancelled by somebody else's departure: {self.endpoint.cancelled_by_others}"
            )
        for process in self.processes:
            for task in process.tasks:
                if not process.name.startswith("node") or not task.done() or task.cancelled():
                    continue
                error = task.exception()
                if error is not None and not isinstance(error, RpcError):
                    raise checks.Violation(f"{task.get_name()} died: {error!r}") from error

    # Faults.

    async def faults(self) -> None:
        """A random fault every few seconds, then peace."""
        source = self.random
        while self.loop.time() < FAULTY_S:
            await asyncio.sleep(source.expovariate(0.6))
            await source.choice(
                [
                    self._node_crash,
                    self._zombie,
                    self._worker_crash,
                    self._partition,
                    self._clock_jump,
                    self._disk_full,
                    self._unknown_outcome,
                ]
            )()
        await self.heal()

    async def _node_crash(self) -> None:
        self.kill_node()
        await asyncio.sleep(self.random.random() * 2)
        await self.start_node()

    async def _zombie(self) -> None:
        """A second node takes over while the first still runs, finishes what it has, and does not know."""
        old, old_executor = self.node_process, self.executor
        if old is None or old_executor is None:
            return
        self.note("takeover")
        await self.start_node()
        await asyncio.sleep(self.random.random())
        old.kill()
        old_executor.crash()
        self.note("zombie ended")

    async def _worker_crash(self) -> None:
        number = self.random.randrange(WORKERS)
        self.kill_worker(number)
        await asyncio.sleep(self.random.random() * 4)
        self.start_worker(number)

    async def _partition(self) -> None:
        self.note("partition")
        self.network.partitioned = True
        await asyncio.sleep(self.random.random() * 3)
        self.network.partitioned = False

    async def _clock_jump(self) -> None:
        self.clock.skew_ns += self.random.randint(-2, 2) * SECOND_NS
        self.note(f"clock skew {self.clock.skew_ns}")

    async def _disk_full(self) -> None:
        if (store := self.store) is not None:
            self.note("disk full")
            store.is_full = True
            await asyncio.sleep(self.random.random() * 2)
            store.is_full = False

    async def _unknown_outcome(self) -> None:
        """The database answers a few commits not at all; some of them are written."""
        for _ in range(4):
            if self.store is not None:
                self.store.unknown = self.random.choice(["landed", "lost"])
                self.note(f"the next commit is {self.store.unknown}, and nobody is told")
            await asyncio.sleep(self.random.random())

    def check_rows(self, *tables: str) -> None:
        """Every workflow has ended: nothing may be left to do."""
        for table in tables:
            (count,) = self.database.execute(f"SELECT count(*) FROM {table}").fetchone()
            if count:
                raise checks.Violation(
                    f"{count} rows are left in {table} although everything ended"
                )

    async def heal(self) -> None:
        healthy = NetworkFaults.none()
        for name in vars(healthy):
            setattr(self.network, name, getattr(healthy, name))
        if self.node is None:
            await self.start_node()


async def _sweep_nothing() -> int:
    return 0


def _ignore(unraisable: object) -> None:
    """Frozen coroutines object to their end; nobody needs to know."""


def play(seed: int, workloads: Sequence[type[Workload]] | None = None) -> Report:
    """Play one world."""
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise AssertionError("a world has a loop of its own")
    return World(seed, workloads).run()
