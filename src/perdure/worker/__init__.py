"""Running workflows and activities: `Worker`, `Replayer`, interceptors.

A worker polls, runs user code and answers. Its parts are listed in `ARCHITECTURE.md`; workflow code itself runs in
`perdure.worker.host`. Not here: task queues, retries and time-outs (the server), matching commands with history
(`perdure.replay`).
"""

from __future__ import annotations

from perdure.worker.config import ReplayerConfig, WorkerConfig
from perdure.worker.interceptors.activity import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
)
from perdure.worker.interceptors.interceptor import Interceptor
from perdure.worker.interceptors.workflow import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from perdure.worker.plugin import Plugin
from perdure.worker.replayer.replayer import Replayer, WorkflowReplayResult, WorkflowReplayResults
from perdure.worker.worker import Worker

__all__ = [
    "ActivityInboundInterceptor",
    "ActivityOutboundInterceptor",
    "ContinueAsNewInput",
    "ExecuteActivityInput",
    "ExecuteWorkflowInput",
    "HandleQueryInput",
    "HandleSignalInput",
    "HandleUpdateInput",
    "Interceptor",
    "Plugin",
    "Replayer",
    "ReplayerConfig",
    "SignalChildWorkflowInput",
    "SignalExternalWorkflowInput",
    "StartActivityInput",
    "StartChildWorkflowInput",
    "StartLocalActivityInput",
    "Worker",
    "WorkerConfig",
    "WorkflowInboundInterceptor",
    "WorkflowInterceptorClassInput",
    "WorkflowOutboundInterceptor",
    "WorkflowReplayResult",
    "WorkflowReplayResults",
]
