"""`Plugin`: one integration for workers and replayers alike.

A plugin bundles what an integration needs: its converter, interceptors, workflows and activities, and what runs around
the worker. Names and parameters are the official ones. A class may be a plugin of clients too (`perdure.client`):
a client's plugins reach its workers. Not here: applying plugins (`worker`, `replayer`).
"""

from __future__ import annotations

from perdure.worker.replayer.replayer import ReplayerPlugin
from perdure.worker.worker import WorkerPlugin


class Plugin(WorkerPlugin, ReplayerPlugin):
    """Changes how workers and replayers are configured and run. Earlier plugins wrap later ones.

    Example:
        >>> class Tracing(Plugin):
        ...     def configure_worker(self, config):
        ...         config["interceptors"] = [*config["interceptors"], TracingInterceptor()]
        ...         return config
        ...
        ...     async def run_worker(self, worker, next):
        ...         with tracer():
        ...             await next(worker)
        ...
        ...     def configure_replayer(self, config):
        ...         config["interceptors"] = [*config["interceptors"], TracingInterceptor()]
        ...         return config
        ...
        ...     def run_replayer(self, replayer, histories, next):
        ...         return next(replayer, histories)
    """
