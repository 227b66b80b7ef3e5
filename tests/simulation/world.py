"""The world of one seed: a node and its database, workers, a client, and a schedule of faults.

The database is one SQLite connection that outlives every node: committed changes survive a crash, others do not.
Killing a process freezes it (`loop.Process`). After the last fault the world heals, and every workflow must end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

import msgspec

from perdure.client import Client
from perdure.converter import DataConverter
from perdure.core.ids import new_id, seeded_ids
from perdure.core.limits import DEFAULT_LIMITS
from perdure.server.node.node import Node, open_node
from perdure.service import ConnectConfig, ServiceClient
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.testing.simulation.disk import DiskFaults, SimExecutor
from perdure.testing.simulation.loop import Process, SimClock, SimLoop
from perdure.testing.simulation.network import Endpoint, NetworkFaults, SimConnection
from perdure.worker import Worker
from tests.simulation import ending
from tests.simulation.archive import Archive, SimStore
from tests.simulation.codec import SimCodec, check_encoded
from tests.simulation.faults import FAULTY_S, START_TAIL_S, Faults
from tests.simulation.lateness import LOOK_S, Lateness
from tests.simulation.ledger import Current, Ledger
from tests.simulation.outages import Outage, Outages
from tests.simulation.server_log import ServerLog
from tests.simulation.settings import Settings
from tests.simulation.violations import Kind, Violation
from tests.simulation.workloads import ALL, Workload
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.transition import Effect
    from perdure.storage.port import Store
    from perdure.wire.seam import Method

SHARDS = 3
WORKERS = 2
SLOW_DELIVERY_S = 2.0
CALM_LIMIT_S = 1_800.0
"""How long the workflows may take to end after the world has healed."""


@dataclass
class Report:
    """What happened in one world."""

    seed: int
    workloads: Sequence[str]
    virtual_s: float = 0.0
    crashes: int = 0
    calls: int = 0
    digest: str = ""
    trace: list[str] = field(default_factory=list[str])


class World:
    """One simulated cluster with its faults and workloads."""

    shards = SHARDS

    def __init__(
        self,
        seed: int,
        workloads: Sequence[type[Workload]] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.random = Random(seed)
        self.loop = SimLoop()
        self.clock = SimClock(self.loop)
        self.ledger = Ledger(now_s=self.loop.time)
        self.disk = DiskFaults(self.random)
        self.network = NetworkFaults()
        self.endpoint = Endpoint()
        self.own_endpoint = Endpoint()
        """The endpoint of the newest node alone: a node that starts later gets another one."""
        self.database = connect_memory(self.shards)
        self.outages = Outages(self.loop, self.clock)
        self.archive = Archive(self.database, self.clock)
        self.lateness = Lateness(self.loop, self.clock, self.outages, self.database)
        self.log = ServerLog()
        self.settings = settings or Settings.draw(self.random)
        self.converter = DataConverter.default
        if self.settings.has_codec:
            self.converter = dataclasses.replace(self.converter, payload_codec=SimCodec())
        self.node: Node | None = None
        self.node_process: Process | None = None
        self.executor: SimExecutor | None = None
        self.store: SimStore | None = None
        self.processes: list[Process] = []
        self.workers: dict[int, Process] = {}
        self.kinds = list(workloads or self.random.sample(ALL, 2))
        self.report = Report(seed, [kind.__name__ for kind in self.kinds])
        self.violations: list[Violation] = []
        """Violations that were found where other code would have caught the exception."""
        self._down: Outage | None = None
        self._hash = hashlib.sha256()
        self._ids = Random(seed ^ 0x5EED)

    # Running.

    def run(self) -> Report:
        """Play the world to its end.

        Raises:
            AssertionError: A promise was not kept, or the loop is deadlocked.
        """
        Current.ledger = self.ledger
        with seeded_ids(self._ids), self.settings.in_force(), self.log.listening():
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
        drivers = [kind(self) for kind in self.kinds]
        faults = asyncio.create_task(Faults(self).run(), name="faults")
        watch = asyncio.create_task(self.watch(), name="watch")
        playing = asyncio.gather(*(driver.play() for driver in drivers))
        try:
            async with asyncio.timeout(FAULTY_S + CALM_LIMIT_S):
                await self._first_of(playing, faults, watch)
                await playing
        except TimeoutError:
            self.check_node()
            raise Violation(
                Kind.STUCK,
                f"not finished {CALM_LIMIT_S} virtual seconds after the last fault:"
                f" {sorted(self.ledger.started.keys() - self.ledger.results.keys())}",
            ) from None
        finally:
            faults.cancel()
        await self.heal()
        self.check_node()
        await ending.check(self, drivers)
        if watch.done():
            watch.result()
        watch.cancel()

    async def _first_of(
        self,
        playing: asyncio.Future[list[None]],
        faults: asyncio.Task[None],
        watch: asyncio.Task[None],
    ) -> None:
        """Wait for the drivers; an exception of the faults or the watch ends the world at once."""
        waiting: set[asyncio.Future[Any]] = {playing, faults, watch}
        while not playing.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done - {playing}:
                if each.exception() is not None:
                    playing.cancel()
                each.result()

    async def watch(self) -> None:
        """Look for overdue deadlines and collected violations once a second."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self.violations:
                raise self.violations[0]
            if self.node is not None:
                self.lateness.look(self.node)

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
        settings = self.settings

        async def open_it() -> None:
            inner = open_memory(executor=executor, connection=self.database)
            store = SimStore(cast("Store", inner), self.archive)
            node = await open_node(
                cast("Store", store),
                clock=self.clock,
                new_id=new_id,
                workers_died=settings.is_embedded,
                limits=msgspec.structs.replace(
                    DEFAULT_LIMITS, retention_default_ns=settings.retention_ns
                ),
            )
            if settings.has_small_cache:
                # Nearly every access loads a run and evicts another.
                node.engine.cache.bytes_max = 1
            if not settings.has_row_sweep:
                vars(node.engine.row_sweep)["sweep"] = _sweep_nothing
            if settings.has_slow_deliveries:
                self._slow_deliveries(node)
            self.store = store
            opened.set_result(node)

        self.node_process, self.executor = process, executor
        opening = process.spawn(open_it(), "open")
        opening.add_done_callback(
            lambda done: opened.set_exception(error) if (error := done.exception()) else None
        )
        node = await opened
        self.node = node
        if settings.is_embedded:
            ending.check_nothing_in_flight(self.database)

        async def dispatch(
            method: Method,
            request: Any,
            metadata: Mapping[str, str | bytes],
            timeout_ns: int | None,
        ) -> Any:
            self.report.calls += 1
            self.note(method.name)
            self._check_call(method.name, request)
            return await node.frontend.dispatch(method, request, metadata, timeout_ns)

        self.endpoint.up(process, dispatch)
        self.own_endpoint = Endpoint()
        self.own_endpoint.up(process, dispatch)
        self.note("node up")
        if self._down is not None:
            self.outages.end(self._down)
            self._down = None

    def _slow_deliveries(self, node: Node) -> None:
        outbox = node.engine.outbox
        deliver = outbox.deliver

        async def slow(source: EntityKey, effect: Effect) -> None:
            await asyncio.sleep(self.random.random() * SLOW_DELIVERY_S)
            await deliver(source, effect)

        outbox.deliver = slow

    def _check_call(self, name: str, request: Any) -> None:
        if self.settings.has_codec:
            try:
                check_encoded(name, request)
            except Violation as violation:
                self.violations.append(violation)

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
        self._down = self.outages.begin("node down", START_TAIL_S)
        ending.check_database(self.database)
        self.node = self.node_process = self.executor = None

    def client(self, name: str, faults: NetworkFaults | None = None) -> Client:
        connection = SimConnection(self.endpoint, faults or self.network, self.random, name)
        service = ServiceClient(ConnectConfig(target_host="simulation", identity=name), connection)
        return Client(service, data_converter=self.converter)

    def _own_client(self, name: str) -> Client:
        """The client of a worker. In an embedded world it is in the process of the engine, for polls as well."""
        client = self.client(name)
        if self.settings.is_embedded and self.node is not None:
            cast("SimConnection", client.connection).inline_workers = self.node.inline_workers
        return client

    def start_worker(self, number: int) -> None:
        process = self._process(f"worker-{number}")

        async def work() -> None:
            worker = Worker(
                self._own_client(f"worker-{number}"),
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

    def check_node(self) -> None:
        """The node logged no unexpected error and cancelled no call.

        Raises:
            Violation: It did, or a violation was collected.
        """
        if self.violations:
            raise self.violations[0]
        if self.endpoint.cancelled_by_others:
            raise Violation(
                Kind.CANCELLED, f"calls were cancelled: {self.endpoint.cancelled_by_others}"
            )
        self.log.check()

    async def heal(self) -> None:
        healthy = NetworkFaults.none()
        for name in vars(healthy):
            setattr(self.network, name, getattr(healthy, name))
        if self.store is not None:
            self.store.heal()
        if self.node is None:
            await self.start_node()


async def _sweep_nothing() -> int:
    return 0


def _ignore(unraisable: object) -> None:
    """Frozen coroutines complain when they are destroyed, which does not matter."""
