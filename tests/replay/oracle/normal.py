"""Our engine's activations and commands, in the plain form that both sides share."""

from __future__ import annotations

from typing import Any

from perdure.replay import commands as cmd
from perdure.replay import jobs
from perdure.wire.api import common
from perdure.wire.api import failure as failures
from tests.replay.oracle.script import Command, Job


def _hex(message: Any) -> str:
    return "" if message is None else message.SerializeToString(deterministic=True).hex()


def outcome(result: Any) -> tuple[Any, ...]:
    match result:
        case jobs.Completed():
            return ("completed", _hex(result.result))
        case jobs.Failed():
            return ("failed", _hex(result.failure))
        case jobs.Cancelled():
            return ("cancelled", _hex(result.failure))
        case jobs.Backoff():
            return (
                "backoff",
                result.attempt,
                result.backoff_ns,
                result.original_schedule_time_ns or 0,
            )
        case jobs.NexusStarted():
            return ("started", result.operation_token or "")
        case jobs.ChildStarted():
            return ("started", result.run_id)
        case jobs.ChildStartFailed():
            return ("failed", result.workflow_id, result.workflow_type, result.cause)
        case _:
            raise TypeError(result)


def job(value: jobs.Job) -> Job:
    match value:
        case jobs.InitializeWorkflow():
            arguments = "|".join(_hex(p) for p in value.arguments)
            return (
                "init",
                value.workflow_id,
                value.workflow_type,
                value.randomness_seed,
                value.start_time_ns,
                arguments,
            )
        case jobs.NotifyHasPatch():
            return ("patch", value.patch_id)
        case jobs.UpdateRandomSeed():
            return ("seed", value.randomness_seed)
        case jobs.SignalWorkflow():
            inputs = "|".join(_hex(p) for p in value.input)
            return ("signal", value.signal_name, value.identity, value.event_id, inputs)
        case jobs.DoUpdate():
            return ("update", value.protocol_instance_id, value.name, value.run_validator, value.id)
        case jobs.CancelWorkflow():
            return ("cancel", value.reason)
        case jobs.FireTimer():
            return ("timer", value.seq)
        case jobs.ResolveActivity():
            kind = "local" if value.is_local else "activity"
            return (kind, value.seq, *outcome(value.result))
        case jobs.ResolveChildStart():
            return ("child_start", value.seq, *outcome(value.outcome))
        case jobs.ResolveChild():
            return ("child", value.seq, *outcome(value.result))
        case jobs.ResolveSignalExternal():
            return ("signal_ext", value.seq, _hex(value.failure), value.cause)
        case jobs.ResolveCancelExternal():
            return ("cancel_ext", value.seq, _hex(value.failure), value.cause)
        case jobs.ResolveNexusOperationStart():
            return ("nexus_start", value.seq, *outcome(value.outcome))
        case jobs.ResolveNexusOperation():
            return ("nexus", value.seq, *outcome(value.result))
        case jobs.QueryWorkflow():
            return ("query", value.query_id, value.query_type)


def activation(value: jobs.Activation) -> dict[str, Any]:
    return {
        "replaying": value.is_replaying,
        "time_ns": value.time_ns,
        "history_length": value.history_length,
        "history_size": value.history_size_bytes,
        "suggest": value.continue_as_new_suggested,
        "flags": sorted(value.available_flags),
        "sdk_version": value.last_sdk_version,
        "jobs": [job(item) for item in value.jobs],
    }


def payload(text: str) -> common.Payload:
    return common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())


def command(value: Command) -> cmd.Command:
    match value:
        case ("start_timer", seq, ms):
            return cmd.StartTimer(seq=seq, start_to_fire_timeout_ns=ms * 1_000_000)
        case ("start_activity", seq, name, cancel_type):
            return cmd.ScheduleActivity(
                seq=seq,
                activity_id=f"a{seq}" if seq % 2 else "",
                activity_type=name,
                start_to_close_timeout_ns=10_000_000_000,
                cancellation_type=cmd.ActivityCancellationType(cancel_type),
            )
        case ("plan_activity", seq, identifier, name, cancel_type):
            return cmd.ScheduleActivity(
                seq=seq,
                activity_id=identifier,
                activity_type=name,
                cancellation_type=cmd.ActivityCancellationType(cancel_type),
            )
        case ("start_local", seq, name, cancel_type):
            return cmd.ScheduleLocalActivity(
                seq=seq,
                activity_id=f"a{seq}",
                activity_type=name,
                start_to_close_timeout_ns=10_000_000_000,
                cancellation_type=cmd.ActivityCancellationType(cancel_type),
            )
        case ("start_child", seq, name, cancel_type):
            return cmd.StartChildWorkflow(
                seq=seq,
                namespace="default",
                workflow_id=f"child-{seq}",
                workflow_type=name,
                cancellation_type=cmd.ChildWorkflowCancellationType(cancel_type),
            )
        case ("start_signal_ext", seq, child_only):
            return cmd.SignalExternal(
                seq=seq, workflow_id="other", child_workflow_only=child_only, signal_name="hello"
            )
        case ("start_cancel_ext", seq):
            return cmd.RequestCancelExternal(seq=seq, workflow_id="other", reason="enough")
        case ("cancel_timer", seq):
            return cmd.CancelTimer(seq=seq)
        case ("cancel_activity", seq):
            return cmd.RequestCancelActivity(seq=seq)
        case ("start_nexus", seq, name, cancel_type):
            return cmd.ScheduleNexusOperation(
                seq=seq,
                endpoint="end",
                service="bank",
                operation=name,
                cancellation_type=cmd.NexusOperationCancellationType(cancel_type),
            )
        case ("cancel_nexus", seq):
            return cmd.RequestCancelNexusOperation(seq=seq)
        case ("cancel_local", seq):
            return cmd.RequestCancelLocalActivity(seq=seq)
        case ("cancel_child", seq):
            return cmd.CancelChildWorkflow(seq=seq, reason="no longer needed")
        case ("cancel_signal_ext", seq):
            return cmd.CancelSignalExternal(seq=seq)
        case ("set_patch", name, deprecated):
            return cmd.SetPatchMarker(patch_id=name, deprecated=deprecated)
        case ("upsert", key):
            attributes = common.SearchAttributes(indexed_fields={key: payload("blue")})
            return cmd.UpsertSearchAttributes(search_attributes=attributes)
        case ("modify_memo",):
            return cmd.ModifyProperties(upserted_memo=common.Memo(fields={"note": payload("x")}))
        case ("update_accepted", instance):
            return cmd.UpdateResponse(protocol_instance_id=instance, response=cmd.UpdateAccepted())
        case ("update_rejected", instance):
            failure = failures.Failure(message="bad update")
            return cmd.UpdateResponse(
                protocol_instance_id=instance, response=cmd.UpdateRejected(failure)
            )
        case ("update_completed", instance):
            return cmd.UpdateResponse(
                protocol_instance_id=instance, response=cmd.UpdateCompleted(payload("ok"))
            )
        case ("complete",):
            return cmd.CompleteWorkflow(result=payload("done"))
        case ("fail",):
            return cmd.FailWorkflow(failure=failures.Failure(message="broken"))
        case ("cancel_workflow",):
            return cmd.CancelWorkflowExecution()
        case ("continue_as_new",):
            return cmd.ContinueAsNew(workflow_type="Script")
        case ("query_result", query_id):
            return cmd.QueryResult(query_id=query_id, response=payload("answer"))
        case _:
            raise TypeError(value)
