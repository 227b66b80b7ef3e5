"""The configurations of workers and replayers as dictionaries, and how plugins change them.

Invariant: what a plugin leaves behind has exactly the parameters that exist. Not here: what the parameters mean
(`options`), the plugins themselves (`plugin`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from datetime import timedelta

    from perdure.client import Client
    from perdure.common import HeaderCodecBehavior
    from perdure.converter import DataConverter
    from perdure.worker.interceptors.interceptor import Interceptor
    from perdure.worker.options import WorkflowExecution

ConfigT = TypeVar("ConfigT", bound=Mapping[str, Any])
PluginT = TypeVar("PluginT", bound="NamedPlugin")


class WorkerConfig(TypedDict):
    """The parameters of `Worker`."""

    client: Client
    task_queue: str
    activities: Sequence[Callable[..., Any]]
    workflows: Sequence[type]
    activity_executor: Executor | None
    plugins: Sequence[Any]
    """Of type `Plugin`, which is defined above this module."""
    interceptors: Sequence[Interceptor]
    build_id: str | None
    identity: str | None
    max_cached_workflows: int
    max_concurrent_workflow_tasks: int | None
    max_concurrent_activities: int | None
    max_concurrent_local_activities: int | None
    max_concurrent_workflow_task_polls: int | None
    nonsticky_to_sticky_poll_ratio: float
    max_concurrent_activity_task_polls: int | None
    no_remote_activities: bool
    sticky_queue_schedule_to_start_timeout: timedelta
    max_heartbeat_throttle_interval: timedelta
    default_heartbeat_throttle_interval: timedelta
    max_task_queue_activities_per_second: float | None
    graceful_shutdown_timeout: timedelta
    workflow_failure_exception_types: Sequence[type[BaseException]]
    debug_mode: bool
    disable_eager_activity_execution: bool
    workflow_execution: WorkflowExecution | None
    on_fatal_error: Callable[[BaseException], Awaitable[None]] | None


class ReplayerConfig(TypedDict):
    """The parameters of `Replayer`."""

    workflows: Sequence[type]
    namespace: str
    data_converter: DataConverter
    interceptors: Sequence[Interceptor]
    workflow_failure_exception_types: Sequence[type[BaseException]]
    debug_mode: bool
    header_codec_behavior: HeaderCodecBehavior


class NamedPlugin:
    """What plugins of workers and of replayers have in common."""

    def name(self) -> str:
        """The plugin's name. Default: module and name of its class."""
        return f"{type(self).__module__}.{type(self).__qualname__}"


def configured(
    config: ConfigT,
    plugins: Iterable[PluginT],
    configure: Callable[[PluginT, ConfigT], ConfigT],
) -> ConfigT:
    """The configuration after every plugin has changed it, in their order.

    Args:
        config: Not changed itself.
        plugins: Outermost first.
        configure: Calls the plugin's method.

    Raises:
        TypeError: A plugin returned no configuration, or one with parameters that do not exist.
    """
    changed = cast("ConfigT", dict(config))
    for plugin in plugins:
        changed = configure(plugin, changed)
        if not isinstance(changed, dict):
            raise TypeError(
                f"plugin {plugin.name()} must return the configuration, not {type(changed).__name__}"
            )
        unknown = changed.keys() - config.keys()
        if unknown:
            raise TypeError(
                f"plugin {plugin.name()} set {min(unknown)!r}, which is not a parameter here"
            )
        missing = config.keys() - changed.keys()
        if missing:
            raise TypeError(
                f"plugin {plugin.name()} removed {min(missing)!r} from the configuration"
            )
    return changed
