"""The vocabulary of workflow code: decorators, activities, timers, conditions, children, time, randomness.

Names, signatures and behaviour are those of the official package's `workflow` module. Each function looks up the
runtime of the calling workflow (`_runtime`) and delegates to it. Outside a workflow it raises
`NotInWorkflowEventLoopError`.

Invariants: nothing here performs I/O, and importing it starts nothing; workflow code may import it freely.
Not here: the event loop, replay, command building (`perdure.worker.host`).

Example:
    ```python
    @activity.defn
    async def compose_greeting(name: str) -> str:
        return f"Hello, {name}!"


    @workflow.defn
    class Greeting:
        @workflow.run
        async def run(self, name: str) -> str:
            await workflow.sleep(10)
            return await workflow.execute_activity(
                compose_greeting, name, start_to_close_timeout=timedelta(seconds=10)
            )
    ```
"""

from __future__ import annotations

from perdure.workflow._activities import (
    execute_activity,
    start_activity,
)
from perdure.workflow._activity_methods import execute_activity_method, start_activity_method
from perdure.workflow._asyncio import as_completed, wait
from perdure.workflow._base import Workflow
from perdure.workflow._children import (
    execute_child_workflow,
    start_child_workflow,
)
from perdure.workflow._context import (
    all_handlers_finished,
    cancellation_reason,
    deprecate_patch,
    extern_functions,
    get_current_details,
    get_last_completion_result,
    get_last_failure,
    has_last_completion_result,
    in_workflow,
    instance,
    is_failure_exception,
    memo,
    memo_value,
    metric_meter,
    new_random,
    now,
    patched,
    payload_converter,
    random,
    random_seed,
    register_random_seed_callback,
    set_current_details,
    sleep,
    time,
    time_ns,
    upsert_memo,
    upsert_search_attributes,
    uuid4,
    uuid7,
    wait_condition,
    wait_for_condition,
)
from perdure.workflow._definition import DynamicWorkflowConfig, defn, dynamic_config, init, run
from perdure.workflow._errors import (
    ContinueAsNewError,
    ContinueAsNewVersioningBehavior,
    NondeterminismError,
    NonDeterministicCall,
    ReadOnlyContextError,
    VersioningIntent,
)
from perdure.workflow._external import (
    continue_as_new,
    get_external_workflow_handle,
    get_external_workflow_handle_for,
)
from perdure.workflow._handler_definitions import (
    HandlerUnfinishedPolicy,
    UnfinishedSignalHandlersWarning,
    UnfinishedUpdateHandlersWarning,
)
from perdure.workflow._handlers import UpdateMethodMultiParam, query, signal, update
from perdure.workflow._handles import ActivityHandle, ChildWorkflowHandle, ExternalWorkflowHandle
from perdure.workflow._local_activities import (
    execute_local_activity,
    execute_local_activity_method,
    start_local_activity,
    start_local_activity_method,
)
from perdure.workflow._logging import LoggerAdapter, logger
from perdure.workflow._options import (
    ActivityCancellationType,
    ActivityConfig,
    ChildWorkflowCancellationType,
    ChildWorkflowConfig,
    LocalActivityConfig,
    ParentClosePolicy,
)
from perdure.workflow._runtime import (
    Info,
    ParentInfo,
    RootInfo,
    UpdateInfo,
    current_update_info,
    info,
)
from perdure.workflow._set_handlers import (
    get_dynamic_query_handler,
    get_dynamic_signal_handler,
    get_dynamic_update_handler,
    get_query_handler,
    get_signal_handler,
    get_update_handler,
    set_dynamic_query_handler,
    set_dynamic_signal_handler,
    set_dynamic_update_handler,
    set_query_handler,
    set_signal_handler,
    set_update_handler,
)
from perdure.workflow._unsafe import SandboxImportNotificationPolicy, unsafe

__all__ = [
    "ActivityCancellationType",
    "ActivityConfig",
    "ActivityHandle",
    "ChildWorkflowCancellationType",
    "ChildWorkflowConfig",
    "ChildWorkflowHandle",
    "ContinueAsNewError",
    "ContinueAsNewVersioningBehavior",
    "DynamicWorkflowConfig",
    "ExternalWorkflowHandle",
    "HandlerUnfinishedPolicy",
    "Info",
    "LocalActivityConfig",
    "LoggerAdapter",
    "NonDeterministicCall",
    "NondeterminismError",
    "ParentClosePolicy",
    "ParentInfo",
    "ReadOnlyContextError",
    "RootInfo",
    "SandboxImportNotificationPolicy",
    "UnfinishedSignalHandlersWarning",
    "UnfinishedUpdateHandlersWarning",
    "UpdateInfo",
    "UpdateMethodMultiParam",
    "VersioningIntent",
    "Workflow",
    "all_handlers_finished",
    "as_completed",
    "cancellation_reason",
    "continue_as_new",
    "current_update_info",
    "defn",
    "deprecate_patch",
    "dynamic_config",
    "execute_activity",
    "execute_activity_method",
    "execute_child_workflow",
    "execute_local_activity",
    "execute_local_activity_method",
    "extern_functions",
    "get_current_details",
    "get_dynamic_query_handler",
    "get_dynamic_signal_handler",
    "get_dynamic_update_handler",
    "get_external_workflow_handle",
    "get_external_workflow_handle_for",
    "get_last_completion_result",
    "get_last_failure",
    "get_query_handler",
    "get_signal_handler",
    "get_update_handler",
    "has_last_completion_result",
    "in_workflow",
    "info",
    "init",
    "instance",
    "is_failure_exception",
    "logger",
    "memo",
    "memo_value",
    "metric_meter",
    "new_random",
    "now",
    "patched",
    "payload_converter",
    "query",
    "random",
    "random_seed",
    "register_random_seed_callback",
    "run",
    "set_current_details",
    "set_dynamic_query_handler",
    "set_dynamic_signal_handler",
    "set_dynamic_update_handler",
    "set_query_handler",
    "set_signal_handler",
    "set_update_handler",
    "signal",
    "sleep",
    "start_activity",
    "start_activity_method",
    "start_child_workflow",
    "start_local_activity",
    "start_local_activity_method",
    "time",
    "time_ns",
    "unsafe",
    "update",
    "upsert_memo",
    "upsert_search_attributes",
    "uuid4",
    "uuid7",
    "wait",
    "wait_condition",
    "wait_for_condition",
]
