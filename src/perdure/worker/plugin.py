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
        ```python
        from perdure.worker import Interceptor, Plugin


        class Tracing(Plugin):
            def configure_worker(self, config):
                config["interceptors"] = [*config["interceptors"], Interceptor()]
                return config

            async def run_worker(self, worker, next):
                log.append(f"begin {worker.task_queue}")
                await next(worker)
                log.append(f"end {worker.task_queue}")

            def configure_replayer(self, config):
                return config

            def run_replayer(self, replayer, histories, next):
                return next(replayer, histories)


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                return "paid"


        log: list[str] = []
        async with Worker(client, task_queue="orders", workflows=[Order], plugins=[Tracing()]):
            await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
        assert log == ["begin orders", "end orders"]
        ```
    """
