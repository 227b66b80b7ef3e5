"""Several workflow ids, all their runs, and the effects between them, in memory: what the tests of D-9 drive.

The transitions are the engine's, the deliveries are `server.deliveries`, and updates that no worker has accepted wait
in `server.updates`; only the store, the cache and the clock are lists here. Each commit is checked by `World`: the run
folded again from what was written equals the run in memory. A delivery may be interrupted wherever it awaits the
engine: by other steps (`meanwhile`), or by the death of the process after any of its commits; memory is gone then, and
the effect is delivered again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from perdure.core.ids import EntityKey, QueueKind
from perdure.core.limits import Limits
from perdure.entity.env import Env
from perdure.entity.transition import Effect
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history import transitions
from perdure.history.draft.transition import RunTransition
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import RunState
from perdure.server.deliveries import Deliveries
from perdure.server.owners.codec import (
    decode_answer,
    decode_message,
    encode_answer,
    encode_message,
)
from perdure.server.owners.messages import DeliverMessage
from perdure.server.pending.updates import Updates
from perdure.wire.errors import RpcError, not_found
from perdure.wire.events import frame
from tests.harness.values import START_NS
from tests.transcripts.world import NAMESPACE_ID, World

Change = Callable[[RunState, Env], "RunTransition | tuple[RunTransition, ...]"]


class SuddenDeathError(Exception):
    """The process dies here."""


class Sent(NamedTuple):
    """A row of the outbox."""

    source: EntityKey
    number: int
    effect: Effect


class RunWorld(World):
    """One run of the universe: its clock and its ids are everybody's."""

    def __init__(self, universe: Universe) -> None:
        super().__init__(universe.limits)
        self._universe = universe

    @property
    def env(self) -> Env:
        return self._universe.env

    def check(self) -> None:
        # Transitions that are written together are computed before the first of them is.
        if not self._universe.is_writing:
            self.now_ns = self._universe.now_ns
            super().check()


class Universe:
    """See the module."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now_ns = START_NS
        self.worlds: dict[str, RunWorld] = {}
        """By run id, in the order in which they began."""
        self.pointers: dict[str, CurrentRun] = {}
        self.outbox: list[Sent] = []
        self.updates = Updates()
        self.is_writing = False
        self.commits_to_live: int | None = None
        """After so many commits the process dies."""
        self.meanwhile: list[Callable[[], None] | None] = []
        """What happens before the next calls of a delivery, one for each."""
        self.deaths = 0
        self._ids = 0
        self._sent = 0
        self._deliveries = Deliveries()
        engine = cast("Any", _Engine(self))
        self._deliveries.open(engine, engine, cast("Any", _Owners(self._deliveries)))

    @property
    def env(self) -> Env:
        return Env(now_ns=self.now_ns, new_id=self._new_id, limits=self.limits)

    def _new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    # Finding.

    def find(self, workflow_id: str, run_id: str = "") -> RunWorld:
        """The run of this id, the current one unless named. NotFound when there is none."""
        if not run_id:
            current = self.pointers.get(workflow_id)
            if current is None:
                raise not_found(f"workflow not found for ID: {workflow_id}")
            run_id = current.run_id
        world = self.worlds.get(run_id)
        if world is None or world.state.key.name != workflow_id:
            raise not_found(f"workflow not found for ID: {workflow_id}")
        return world

    def running(self) -> list[RunWorld]:
        return [world for world in self.worlds.values() if world.state.is_running]

    # Changing.

    def change(self, world: RunWorld, change: Change, *, is_wake: bool = False) -> Any:
        """Take a step of one run; its reply, raised when it is an error."""
        before = world.state.snapshot()
        try:
            made = change(world.state, self.env)
        except RpcError:
            assert world.state.snapshot() == before, "an error that was raised changed the run"
            raise
        return self.write(made if isinstance(made, tuple) else (made,), is_wake=is_wake)

    def start_with(
        self,
        workflow_id: str,
        change: Callable[[CurrentRun | None, RunState | None, Env], tuple[RunTransition, ...]],
    ) -> Any:
        current = self.pointers.get(workflow_id)
        existing = self.worlds[current.run_id].state if current is not None else None
        return self.write(change(current, existing, self.env))

    def write(self, made: Sequence[RunTransition], *, is_wake: bool = False) -> Any:
        """Write transitions together; the last reply."""
        flat = [each for one in made for each in (one, *one.also)]
        self.is_writing = True
        touched = [
            self._write(transition, is_wake=is_wake)
            for transition in flat
            if not transition.is_empty or is_wake
        ]
        self.is_writing = False
        for world in touched:
            world.check()
        reply = next((each.reply for each in reversed(flat) if each.reply is not None), None)
        if self.commits_to_live is not None:
            self.commits_to_live -= 1
            if self.commits_to_live <= 0:
                raise SuddenDeathError
        if isinstance(reply, RpcError):
            raise reply
        return reply

    def _write(self, transition: RunTransition, *, is_wake: bool) -> RunWorld:
        key = transition.key
        world = self.worlds.get(key.run_id)
        is_new = world is None
        if world is None:
            world = self.worlds[key.run_id] = RunWorld(self)
        world.commit(transition, is_wake=is_wake)
        if (said := transition.current) is not None:
            known = self.pointers.get(key.name)
            is_late = known is not None and known.run_id != key.run_id and not is_new
            if not (is_late and said.run_id == key.run_id):
                self.pointers[key.name] = said
        for effect in transition.effects:
            self._sent += 1
            self.outbox.append(Sent(key, self._sent, effect))
        return world

    # The process.

    def kill(self) -> None:
        """Only what was written is left."""
        self.deaths += 1
        self.commits_to_live = None
        self.updates = Updates()
        for world in self.worlds.values():
            world.reload()

    def deliver(self, which: int, dies_after: int | None = None) -> None:
        """Deliver the first effect of a lane; `dies_after` so many commits, the last one finishes its row."""
        lanes = {sent.effect.destination: sent for sent in reversed(self.outbox)}
        if not lanes:
            return
        sent = list(lanes.values())[which % len(lanes)]
        self.commits_to_live = dies_after
        try:
            _drive(self._deliveries.deliver(sent.source, sent.effect))
        except SuddenDeathError:
            self.kill()
            return
        if self.commits_to_live is not None:
            self.kill()  # all but the row was finished
            return
        self.outbox.remove(sent)

    def interrupt(self) -> None:
        """A delivery awaits the engine: others go first. They do not die in its stead."""
        step = self.meanwhile.pop(0) if self.meanwhile else None
        if step is not None:
            left, self.commits_to_live = self.commits_to_live, None
            step()
            self.commits_to_live = left

    def deliver_all(self) -> None:
        for _ in range(10_000):
            if not self.outbox:
                return
            self.deliver(0)
        raise AssertionError("effects without end")

    def pass_time(self, ns: int) -> None:
        """The clock moves; runs whose wake-up is due are woken."""
        self.now_ns += ns
        for world in list(self.worlds.values()):
            if 0 < world.wake_at_ns <= self.now_ns:
                self.change(world, transitions.wake, is_wake=True)

    def poll(self, world: RunWorld, request_id: str) -> Any:
        """Start the oldest workflow task of a run that it still wants; the reply, or None."""
        for row, task in world.queue(QueueKind.WORKFLOW):
            info = PollInfo(identity="worker", request_id=request_id)
            reply = self.change(
                world,
                lambda state, env, task=task, row=row, info=info: transitions.start_workflow_task(
                    state, task, row, info, env
                ),
            )
            if not isinstance(reply, StaleTask):
                return reply
        return None


class _Engine:
    """The engine and its runs as deliveries see them. Nothing here ever waits."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self.namespaces = SimpleNamespace(by_id=_namespace)

    async def update(self, key: EntityKey, change: Any, *arguments: object) -> Any:
        self._universe.interrupt()
        return self._universe.change(
            self._universe.find(key.name, key.run_id),
            lambda state, env: change(state, *arguments, env),
        )

    async def update_current(
        self, namespace_id: str, workflow_id: str, run_id: str, change: Change
    ) -> Any:
        self._universe.interrupt()
        assert namespace_id == NAMESPACE_ID
        return self._universe.change(self._universe.find(workflow_id, run_id), change)

    async def start_with(
        self, namespace_id: str, workflow_id: str, needs_existing: object, change: Any
    ) -> Any:
        self._universe.interrupt()
        assert namespace_id == NAMESPACE_ID
        return self._universe.start_with(workflow_id, change)

    async def read_current(
        self,
        namespace_id: str,
        workflow_id: str,
        run_id: str,
        look: Callable[[RunState, Env], Any],
    ) -> Any:
        self._universe.interrupt()
        assert namespace_id == NAMESPACE_ID
        return look(self._universe.find(workflow_id, run_id).state, self._universe.env)

    async def history(self, key: EntityKey, first: int, last: int) -> list[bytes]:
        events = self._universe.find(key.name, key.run_id).history.events[first - 1 : last]
        return [frame(event.SerializeToString()) for event in events]


class _Owners:
    """The owner of all destinations. As between nodes, what crosses is bytes."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    async def ask(self, place: EntityKey, message: DeliverMessage) -> Any:
        arrived = decode_message(encode_message(message))
        assert isinstance(arrived, DeliverMessage)
        assert (place.namespace_id, place.name) == arrived.message.to[:2]
        receipt = await self._deliveries.apply(arrived.message)
        return decode_answer(message, encode_answer(receipt))


def _drive(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a delivery waits for something else than the engine")


def _namespace(namespace_id: str) -> SimpleNamespace | None:
    return SimpleNamespace(name="default") if namespace_id == NAMESPACE_ID else None
