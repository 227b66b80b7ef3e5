"""Starting a run: what to do when the workflow id is taken (S-22 to S-24), and the first events."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from perdure.core.ids import EntityKey, run_key
from perdure.entity.workers import PollInfo
from perdure.history.commands.checks import (
    complete_retry_policy,
    duration_in_range,
    text_payloads,
)
from perdure.history.commands.search_attributes import drop_empty, name_types
from perdure.history.draft.close import close_run, current_run
from perdure.history.draft.draft import Draft, nothing
from perdure.history.draft.replies import EagerStartReply
from perdure.history.draft.visible import visibility_row
from perdure.history.run.deadlines import arm_run
from perdure.history.state.facts import CreateFact, FactKind
from perdure.history.state.run_state import RunState, RunStatus
from perdure.history.workflow_task.reply import task_reply
from perdure.history.workflow_task.steps import (
    SERVER_IDENTITY,
    add_scheduled,
    fail_if_started,
    schedule_workflow_task,
    start_task,
)
from perdure.wire.api import enums, history, workflowservice
from perdure.wire.errors import (
    InvalidArgument,
    RpcError,
    shown,
    workflow_already_started,
)
from perdure.wire.events import execution_of
from perdure.wire.times import duration_ns, duration_or_none

if TYPE_CHECKING:
    from perdure.core.limits import Limits
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.pointer import CurrentRun

_Request = workflowservice.StartWorkflowExecutionRequest
_Response = workflowservice.StartWorkflowExecutionResponse
_FAILED = frozenset(
    {RunStatus.FAILED, RunStatus.CANCELED, RunStatus.TERMINATED, RunStatus.TIMED_OUT}
)
_TERMINATE_REASON = "TerminateIfRunning WorkflowIdReusePolicy"


class Parent(NamedTuple):
    """The run that starts another as its child."""

    key: EntityKey
    namespace: str
    initiated_event_id: int
    root_workflow_id: str
    root_run_id: str


def start(
    current: CurrentRun | None,
    existing: RunState | None,
    request: _Request,
    namespace_id: str,
    env: Env,
    parent: Parent | None = None,
) -> tuple[RunTransition, ...]:
    """Start a run, or answer with the one that is there.

    Args:
        current: What the workflow id's pointer says; None when the id was never used (or is forgotten).
        existing: The state of that run, needed only when `needs_existing` says so.
        request: The caller's request.
        namespace_id: Id of the namespace.
        env: Time, id source and limits.
        parent: Of a child workflow. Its first workflow task waits until the parent has recorded its start (S-38).

    Returns:
        Transitions to commit together. The last one's reply is the StartWorkflowExecutionResponse, or an
        EagerStartReply when the first task goes to the caller (S-34).

    Raises:
        AlreadyExists: The policies of the request forbid another run (S-22).
        InvalidArgument: The request makes no sense.
    """
    if current is not None:
        reply = _answer_with(current, request)
        if reply is not None:
            return (nothing(run_key(namespace_id, request.workflow_id, current.run_id), reply),)
    started = start_new(request, namespace_id, env, parent)
    if current is None or current.status != RunStatus.RUNNING:
        return (started,)
    assert existing is not None, "needs_existing says when the current run must be loaded"
    return (_terminate_for(existing, started.key.run_id, env), started)


def needs_existing(current: CurrentRun | None, request: _Request) -> bool:
    """True when `start` will terminate the current run and must be given its state."""
    return (
        current is not None
        and current.status == RunStatus.RUNNING
        and not _is_repeat(current, request)
        and _policies(request)[1] == enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
    )


def _is_repeat(current: CurrentRun, request: _Request) -> bool:
    return bool(request.request_id) and request.request_id == current.create_request_id


def check_policies(request: _Request) -> None:
    """Refuse policies that contradict each other (S-22).

    Raises:
        InvalidArgument: They do.
    """
    reuse, conflict = request.workflow_id_reuse_policy, request.workflow_id_conflict_policy
    if conflict and reuse == enums.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
        raise InvalidArgument(
            "WorkflowIdReusePolicy TERMINATE_IF_RUNNING cannot be used together with a "
            "WorkflowIdConflictPolicy: set the conflict policy TERMINATE_EXISTING instead."
        )
    if (
        conflict == enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
        and reuse == enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    ):
        raise InvalidArgument(
            "WorkflowIdReusePolicy REJECT_DUPLICATE cannot be used together with "
            "WorkflowIdConflictPolicy TERMINATE_EXISTING."
        )


def _policies(
    request: _Request,
) -> tuple[enums.WorkflowIdReusePolicy.ValueType, enums.WorkflowIdConflictPolicy.ValueType]:
    """Reuse policy (for a closed run) and conflict policy (for a running one), with defaults filled in."""
    reuse, conflict = request.workflow_id_reuse_policy, request.workflow_id_conflict_policy
    if reuse == enums.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
        return (
            enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
            enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
        )
    return (
        reuse or enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
        conflict or enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
    )


_REUSE_POLICIES = frozenset(enums.WorkflowIdReusePolicy.values())


def _unknown(field: str, value: int) -> InvalidArgument:
    # An unknown policy is taken as long as nothing depends on it, as on the reference server. When something does, that
    # server answers INTERNAL, which clients would repeat.
    return InvalidArgument(f"{field} {value} is unknown, and another run has the workflow id.")


def _answer_with(current: CurrentRun, request: _Request) -> _Response | None:
    """The answer that names the current run; None when a new one may be started."""
    if _is_repeat(current, request):
        return _existing(current, started=True)
    reuse, conflict = _policies(request)
    if current.status == RunStatus.RUNNING:
        if conflict == enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING:
            return _existing(current, started=False)
        if conflict == enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL:
            raise _taken(current, request, "is already running", "")
        if conflict != enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING:
            raise _unknown("WorkflowIdConflictPolicy", conflict)
    elif reuse not in _REUSE_POLICIES:
        raise _unknown("WorkflowIdReusePolicy", reuse)
    elif reuse == enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE:
        raise _taken(
            current,
            request,
            "already finished",
            " Workflow Id reuse policy: reject duplicate workflow Id.",
        )
    elif (
        reuse == enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
        and current.status not in _FAILED
    ):
        raise _taken(
            current,
            request,
            "already finished successfully",
            " Workflow Id reuse policy: allow duplicate workflow Id if last run failed.",
        )
    return None


def _existing(current: CurrentRun, *, started: bool) -> _Response:
    return _Response(
        run_id=current.run_id,
        first_execution_run_id=current.first_run_id,
        started=started,
        status=enums.WorkflowExecutionStatus.ValueType(current.status),
    )


def _taken(current: CurrentRun, request: _Request, what: str, why: str) -> RpcError:
    return workflow_already_started(
        f"Workflow execution {what}. WorkflowId: {shown(request.workflow_id)}, "
        f"RunId: {current.run_id}.{why}",
        start_request_id=current.create_request_id,
        run_id=current.run_id,
        first_run_id=current.first_run_id,
    )


def _terminate_for(existing: RunState, new_run_id: str, env: Env) -> RunTransition:
    """S-23: the running one makes room."""
    with Draft(existing, env) as draft:
        fail_if_started(draft)
        close_run(
            draft,
            history.WorkflowExecutionTerminatedEventAttributes(
                reason=_TERMINATE_REASON,
                details=text_payloads(f"terminated by new runID: {new_run_id}"),
                identity=SERVER_IDENTITY,
            ),
        )
        transition = draft.done()
    transition.current = None  # The pointer goes to the new run, in the same commit.
    return transition


# The new run.


def start_new(
    request: _Request, namespace_id: str, env: Env, parent: Parent | None = None
) -> RunTransition:
    """The first run of a chain, with its first workflow task unless that is delayed."""
    run_id = env.new_id()
    attributes = _started_attributes(request, run_id, env)
    if parent is not None:
        _name_parent(attributes, parent)
    attributes.eager_execution_accepted = (
        request.request_eager_execution
        and parent is None
        and not duration_ns(attributes.first_workflow_task_backoff)
    )
    state = RunState(run_key(namespace_id, request.workflow_id, run_id))
    with Draft(state, env) as draft:
        if attributes.workflow_execution_timeout.ToNanoseconds():
            expires_ns = (
                draft.now_ns
                + duration_ns(attributes.first_workflow_task_backoff)
                + duration_ns(attributes.workflow_execution_timeout)
            )
            attributes.workflow_execution_expiration_time.FromNanoseconds(expires_ns)
        draft.add(
            attributes,
            user_metadata=request.user_metadata if request.HasField("user_metadata") else None,
            links=request.links,
        )
        draft.fact(FactKind.CREATE, "", CreateFact(request.request_id))
        response = _Response(
            run_id=run_id,
            first_execution_run_id=run_id,
            started=True,
            status=enums.WORKFLOW_EXECUTION_STATUS_RUNNING,
        )
        if not attributes.eager_execution_accepted:
            begin(draft)
            return draft.done(response)
        # S-34: the caller is a worker and takes the first task at once.
        add_scheduled(draft)
        start_task(draft, PollInfo(identity=request.identity, request_id=request.request_id))
        begin(draft)
        return draft.done(EagerStartReply(response, task_reply(state, env.limits, is_sticky=False)))


def _name_parent(
    attributes: history.WorkflowExecutionStartedEventAttributes, parent: Parent
) -> None:
    attributes.parent_workflow_namespace = parent.namespace
    attributes.parent_workflow_namespace_id = parent.key.namespace_id
    attributes.parent_workflow_execution.CopyFrom(execution_of(parent.key))
    attributes.parent_initiated_event_id = parent.initiated_event_id
    attributes.root_workflow_execution.workflow_id = parent.root_workflow_id
    attributes.root_workflow_execution.run_id = parent.root_run_id


def begin(draft: Draft) -> None:
    """After WorkflowExecutionStarted: first workflow task, deadlines, pointer, lists."""
    state = draft.state
    if not state.info.first_task_backoff_ns:
        schedule_workflow_task(draft, despite_backoff=True)
    arm_run(draft)
    draft.current(current_run(state))
    draft.visible(visibility_row(state))


def _started_attributes(
    request: _Request, run_id: str, env: Env
) -> history.WorkflowExecutionStartedEventAttributes:
    limits = env.limits
    execution_ns = _timeout_ns(request, "workflow_execution_timeout", limits)
    run_ns = _timeout_ns(request, "workflow_run_timeout", limits) or execution_ns
    if execution_ns:
        run_ns = min(run_ns, execution_ns)
    task_ns = _timeout_ns(request, "workflow_task_timeout", limits)
    task_ns = min(
        task_ns or limits.workflow_task_timeout_default_ns, limits.workflow_task_timeout_max_ns
    )
    if run_ns:
        task_ns = min(task_ns, run_ns)
    _check(request, limits)
    attributes = history.WorkflowExecutionStartedEventAttributes(
        workflow_execution_timeout=duration_or_none(execution_ns),
        workflow_run_timeout=duration_or_none(run_ns),
        workflow_task_timeout=duration_or_none(task_ns),
        original_execution_run_id=run_id,
        first_execution_run_id=run_id,
        identity=request.identity,
        attempt=1,
        first_workflow_task_backoff=duration_or_none(
            _timeout_ns(request, "workflow_start_delay", limits)
        ),
        workflow_id=request.workflow_id,
        completion_callbacks=request.completion_callbacks,
    )
    for name in _COPIED:
        if request.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(request, name))
    drop_empty(attributes)
    if attributes.HasField("search_attributes") and env.search_attributes is not None:
        name_types(attributes.search_attributes, env.search_attributes)
    if request.HasField("retry_policy"):
        try:
            policy = complete_retry_policy(request.retry_policy, limits.duration_max_ns)
        except ValueError as error:
            raise InvalidArgument(f"Invalid retry policy: {error}.") from None
        attributes.retry_policy.CopyFrom(policy)
    return attributes


_COPIED = (
    "workflow_type",
    "task_queue",
    "input",
    "header",
    "memo",
    "search_attributes",
    "continued_failure",
    "last_completion_result",
    "priority",
    "versioning_override",
)


def _timeout_ns(request: _Request, field: str, limits: Limits) -> int:
    try:
        return duration_in_range(getattr(request, field), limits.duration_max_ns)
    except ValueError as error:
        raise InvalidArgument(f"{field} {error}.") from None


def _check(request: _Request, limits: Limits) -> None:
    if request.cron_schedule:
        raise InvalidArgument("cron_schedule is not supported yet.")
    if request.input.ByteSize() > limits.blob_size_bytes_max:
        raise InvalidArgument(
            f"input has {request.input.ByteSize()} bytes; the limit is {limits.blob_size_bytes_max}: "
            "keep large values elsewhere and pass references."
        )
    if request.memo.ByteSize() > limits.memo_size_bytes_max:
        raise InvalidArgument(
            f"memo has {request.memo.ByteSize()} bytes; the limit is {limits.memo_size_bytes_max}."
        )
