"""`Replayer`: does the code still do what recorded histories say?

Role: replay histories with today's workflow classes and report the first difference, in tests and before
deployments. Needs no server.

Not here: one history's replay (`replay_history`), the report's text (`perdure.replay.report`).
"""

from __future__ import annotations

import dataclasses
import logging
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.common import HeaderCodecBehavior
from perdure.converter import DataConverter
from perdure.wire.api import history as history_pb
from perdure.worker.config import NamedPlugin, ReplayerConfig, configured
from perdure.worker.host import HostOptions, WorkflowRegistry
from perdure.worker.host.options import WaitForProfile
from perdure.worker.interceptors.interceptor import workflow_interceptor_classes
from perdure.worker.polling.run_codec import RunCodec
from perdure.worker.replayer.replay_history import HistoryReplay
from perdure.worker.workflow.callbacks import from_callback
from perdure.workflow import NondeterminismError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    from perdure.client.history import WorkflowHistory
    from perdure.worker.interceptors.interceptor import Interceptor

    _Iterate: TypeAlias = Callable[
        ["Replayer", AsyncIterator[WorkflowHistory]],
        AbstractAsyncContextManager[AsyncIterator["WorkflowReplayResult"]],
    ]

_log = logging.getLogger("perdure.worker")

_STEPS_PER_SLICE = 20


@dataclass(frozen=True)
class WorkflowReplayResult:
    """The replay of one history.

    Attributes:
        history: The history.
        replay_failure: Why the code does not match it; None if it does. A workflow that failed in its history has no
            replay failure: that is a result like any other.
    """

    history: WorkflowHistory
    replay_failure: Exception | None


@dataclass(frozen=True)
class WorkflowReplayResults:
    """The replay of several histories.

    Attributes:
        replay_failures: The failures by run id.
    """

    replay_failures: Mapping[str, Exception]


class ReplayerPlugin(NamedPlugin, ABC):
    """The half of a `Plugin` that is for replayers."""

    @abstractmethod
    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Change the parameters of a replayer. What workflows see must be the same as on the worker.

        Args:
            config: All parameters; it may be changed and returned.

        Returns:
            The parameters to use.
        """

    @abstractmethod
    def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        """Replay histories, usually with `next(replayer, histories)`.

        Args:
            replayer: The replayer.
            histories: The histories.
            next: Replays them, with the plugins that follow.

        Returns:
            A context manager that gives an async iterator of results.
        """


class Replayer:
    """Replays histories, to check that changed workflow code still matches them.

    Args:
        workflows: Classes decorated with `workflow.defn`.
        namespace: The namespace that the workflows see.
        data_converter: The converter that the histories were written with.
        interceptors: Only their workflow interceptors are used.
        plugins: Outermost first. They may change the other parameters, and wrap `workflow_replay_iterator`, through
            which all histories go.
        workflow_failure_exception_types: As on the worker.
        debug_mode: No limit on the time of an activation, for debuggers.
        header_codec_behavior: As on the client of the workers that wrote the histories.
        options: Parameters of the official `Replayer` that have no meaning here (executors, runners, build id,
            identity, runtime, …). They are accepted and ignored.

    Raises:
        ValueError: No workflow class was given, or one is not decorated.
        TypeError: An option is unknown.

    Example:
        ```python
        from perdure.worker import Replayer


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                await workflow.sleep(timedelta(days=1))
                return "paid"


        async with Worker(client, task_queue="orders", workflows=[Order]):
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await order.result()

        replayed = await Replayer(workflows=[Order]).replay_workflow(await order.fetch_history())
        assert replayed.replay_failure is None
        ```
    """

    def __init__(
        self,
        *,
        workflows: Sequence[type],
        namespace: str = "ReplayNamespace",
        data_converter: DataConverter = DataConverter.default,
        interceptors: Sequence[Interceptor] = (),
        plugins: Sequence[ReplayerPlugin] = (),
        workflow_failure_exception_types: Sequence[type[BaseException]] = (),
        debug_mode: bool = False,
        header_codec_behavior: HeaderCodecBehavior = HeaderCodecBehavior.NO_CODEC,
        **options: Any,
    ) -> None:
        unknown = options.keys() - _IGNORED
        if unknown:
            message = f"Replayer() got an unexpected keyword argument {min(unknown)!r}"
            raise TypeError(message)
        self._initial_config = ReplayerConfig(
            workflows=workflows,
            namespace=namespace,
            data_converter=data_converter,
            interceptors=interceptors,
            workflow_failure_exception_types=workflow_failure_exception_types,
            debug_mode=debug_mode,
            header_codec_behavior=header_codec_behavior,
        )
        self._plugins = tuple(plugins)
        self._config = config = configured(
            self._initial_config,
            self._plugins,
            lambda plugin, changed: plugin.configure_replayer(changed),
        )
        if not config["workflows"]:
            message = "At least one workflow must be specified"
            raise ValueError(message)
        self._registry = WorkflowRegistry(config["workflows"])
        self._namespace = config["namespace"]
        self._codec = config["data_converter"].payload_codec
        self._decodes_headers = config["header_codec_behavior"] is not HeaderCodecBehavior.NO_CODEC
        classes, extern_functions = workflow_interceptor_classes(config["interceptors"])
        self._options = HostOptions(
            data_converter=config["data_converter"],
            interceptor_classes=classes,
            extern_functions=extern_functions,
            failure_exception_types=tuple(config["workflow_failure_exception_types"]),
            deadlock_budget_ns=0 if config["debug_mode"] else HostOptions.deadlock_budget_ns,
        )

    def config(self, *, active_config: bool = False) -> ReplayerConfig:
        """A copy of the parameters, for making another replayer.

        Args:
            active_config: After the plugins have changed them.
        """
        return (self._config if active_config else self._initial_config).copy()

    async def replay_workflow(
        self, history: WorkflowHistory, *, raise_on_replay_failure: bool = True
    ) -> WorkflowReplayResult:
        """Replay one history.

        Args:
            history: The history.
            raise_on_replay_failure: Whether a failure is raised. False: it is returned.

        Returns:
            The history and its failure, if there is one.

        Raises:
            NondeterminismError: The code no longer matches the history. The message shows what differs and where.
            RuntimeError: The workflow task would fail: the class is not registered, or its code raised.
        """

        async def histories() -> AsyncIterator[WorkflowHistory]:
            yield history

        async with self.workflow_replay_iterator(histories()) as results:
            async for result in results:
                if raise_on_replay_failure and result.replay_failure is not None:
                    raise result.replay_failure
                return result
        message = "a plugin's run_replayer gave no result for the history"
        raise RuntimeError(message)

    async def replay_workflows(
        self, histories: AsyncIterator[WorkflowHistory], *, raise_on_replay_failure: bool = True
    ) -> WorkflowReplayResults:
        """Replay several histories.

        Args:
            histories: The histories.
            raise_on_replay_failure: Whether the first failure is raised. False: all histories are replayed, and
                failures are returned.

        Returns:
            The failures by run id.

        Raises:
            NondeterminismError: As for `replay_workflow`.
            RuntimeError: As for `replay_workflow`.
        """
        failures: dict[str, Exception] = {}
        async with self.workflow_replay_iterator(histories) as results:
            async for result in results:
                if result.replay_failure is None:
                    continue
                if raise_on_replay_failure:
                    raise result.replay_failure
                failures[result.history.run_id] = result.replay_failure
        return WorkflowReplayResults(failures)

    def workflow_replay_iterator(
        self, histories: AsyncIterator[WorkflowHistory]
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        """Replay several histories, one at a time: `async with … as results: async for result in results`.

        Args:
            histories: The histories.

        Returns:
            A context manager that gives an async iterator of results. Failures are in the results; none is raised.
        """
        iterate: _Iterate = Replayer._iterator
        for plugin in reversed(self._plugins):
            iterate = _around(plugin, iterate)
        return iterate(self, histories)

    @asynccontextmanager
    async def _iterator(
        self, histories: AsyncIterator[WorkflowHistory]
    ) -> AsyncGenerator[AsyncIterator[WorkflowReplayResult]]:
        async def results() -> AsyncIterator[WorkflowReplayResult]:
            async for history in histories:
                yield WorkflowReplayResult(history, await self._replay(history))

        yield results()

    async def _replay(self, history: WorkflowHistory) -> Exception | None:
        events = history.events
        if not events or not events[0].HasField("workflow_execution_started_event_attributes"):
            message = "The history does not begin with the start of a workflow"
            raise ValueError(message)
        if self._codec is not None:
            events = await self._decoded(history)
        failure, matters = await self._replay_as(history, events, self._options)
        if matters and isinstance(failure, NondeterminismError):
            # Interpreters before and after 3.12 start what is given to wait_for at different times.
            other = next(p for p in WaitForProfile if p is not self._options.wait_for_profile)
            options = dataclasses.replace(self._options, wait_for_profile=other)
            second, _ = await self._replay_as(history, events, options)
            if second is None:
                _log.warning(
                    "The history of workflow %s replays only with the asyncio.wait_for of another "
                    "Python version (profile %s); set HostOptions.wait_for_profile on workers that "
                    "continue it",
                    history.workflow_id,
                    other.value,
                )
                return None
        return failure

    async def _replay_as(
        self,
        history: WorkflowHistory,
        events: Sequence[history_pb.HistoryEvent],
        options: HostOptions,
    ) -> tuple[Exception | None, bool]:
        replay = HistoryReplay(
            history.workflow_id, events, self._registry, options, namespace=self._namespace
        )
        try:
            while await from_callback(lambda: _slice(replay)):
                pass
        finally:
            await from_callback(replay.close)
        return replay.failure, replay.wait_for_profile_matters

    async def _decoded(self, history: WorkflowHistory) -> Sequence[history_pb.HistoryEvent]:
        copy = history_pb.History(events=history.events)
        started = copy.events[0].workflow_execution_started_event_attributes
        codec = RunCodec(
            self._codec,
            namespace=self._namespace,
            workflow_id=history.workflow_id,
            workflow_type=started.workflow_type.name,
            task_queue=started.task_queue.name,
            headers=self._decodes_headers,
        )
        await codec.decode_events(copy.events)
        return copy.events


_IGNORED = frozenset(
    (
        "workflow_task_executor", "workflow_runner", "unsandboxed_workflow_runner",
        "build_id", "identity", "runtime", "disable_safe_workflow_eviction",
    )
)  # fmt: skip


def _around(plugin: ReplayerPlugin, iterate: _Iterate) -> _Iterate:
    return lambda replayer, histories: plugin.run_replayer(replayer, histories, iterate)


def _slice(replay: HistoryReplay) -> bool:
    """A few activations; True when there may be more."""
    return all(replay.step() for _ in range(_STEPS_PER_SLICE))
