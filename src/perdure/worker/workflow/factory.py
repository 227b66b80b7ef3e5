"""Makes runs: the replay engine and the host of one run, from the first task that this worker gets of it.

Not here: keeping them (`cache`), driving them (`workflow.run`).
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure import __version__
from perdure.converter import DataConverter
from perdure.converter.last_resort import failure_of
from perdure.replay.engine import WorkflowReplay
from perdure.replay.jobs import DeploymentVersion
from perdure.replay.report import render
from perdure.replay.task import EngineConfig, RunInfo
from perdure.wire.api import workflowservice
from perdure.worker.host import HostOptions, WorkflowHost, WorkflowRegistry
from perdure.worker.interceptors.interceptor import Interceptor, workflow_interceptor_classes
from perdure.worker.workflow.run import CachedRun

if TYPE_CHECKING:
    from perdure.replay.mismatch import Mismatch
    from perdure.wire.api import failure as failures
    from perdure.worker.activity.local import LocalActivities
    from perdure.worker.options import WorkerOptions
    from perdure.worker.polling.rpc import WorkerRpc
    from perdure.worker.polling.run_codec import RunCodec
    from perdure.worker.workflow.callbacks import Execution


class WorkflowFactory:
    """Builds the replay engine and the host of a run from the run's first task on this worker."""

    def __init__(
        self,
        rpc: WorkerRpc,
        registry: WorkflowRegistry,
        options: WorkerOptions,
        *,
        data_converter: DataConverter,
        interceptors: Iterable[Interceptor],
        local_activities: LocalActivities,
        execution: Execution,
    ) -> None:
        self._rpc = rpc
        self._execution = execution
        self._local_activities = local_activities
        self._registry = registry
        self._task_queue = options.task_queue
        self._engine_config = EngineConfig(
            sdk_version=__version__,
            deployment_version=DeploymentVersion(deployment_name="", build_id=options.build_id),
        )
        self._converter = data_converter
        classes, extern_functions = workflow_interceptor_classes(interceptors)
        host_options = HostOptions(
            data_converter=data_converter,
            interceptor_classes=tuple(classes),
            extern_functions=extern_functions,
            failure_exception_types=tuple(options.workflow_failure_exception_types),
            disable_eager_activity_execution=options.disable_eager_activity_execution,
            deadlock_budget_ns=options.deadlock_budget_ns,
        )
        self._host_options = host_options

    def create_run(
        self, task: workflowservice.PollWorkflowTaskQueueResponse, codec: RunCodec
    ) -> CachedRun:
        """A fresh engine and host for the run of this task, which `codec` has decoded.

        Raises:
            perdure.exceptions.ApplicationError: No class is registered for the workflow's type.
        """
        definition = self._registry.definition_for(task.workflow_type.name)
        # Strings only: any part of the message would keep all of it, and with it the history, in memory.
        workflow_id, run_id = task.workflow_execution.workflow_id, task.workflow_execution.run_id
        run = RunInfo(
            namespace=self._rpc.namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            workflow_type=task.workflow_type.name,
            task_queue=self._task_queue,
        )

        async def fetch_page(
            token: bytes,
        ) -> workflowservice.GetWorkflowExecutionHistoryResponse:
            return await self._rpc.history_page(workflow_id, run_id, token, codec)

        return CachedRun(
            run_id,
            WorkflowReplay(run, self._engine_config),
            WorkflowHost(definition, run, self._host_options),
            fetch_page,
            self._local_activities.of_run(run),
            codec,
            self._execution,
        )

    def to_failure(self, error: BaseException) -> failures.Failure:
        """What fails a workflow task, as a failure (its codec is applied with the request)."""
        converter = self._converter
        return failure_of(error, converter.failure_converter, converter.payload_converter)

    def render(self, problem: Mismatch) -> str:
        """The one-screen report of a mismatch."""
        return render(problem, linecache.getline)
