"""The oracle's own process: replays histories in the official core, driven by ``script``.

Protocol: one JSON object per line on stdin (history in base64, seed, variant), one per line back
(activations, verdict). Nothing of Perdure is imported here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

import temporalio.api.common.v1 as common
import temporalio.api.failure.v1 as failures
import temporalio.bridge.runtime as bridge_runtime
import temporalio.bridge.worker as bridge
from temporalio.bridge.proto import workflow_activation as act
from temporalio.bridge.proto import workflow_commands as wc
from temporalio.bridge.proto import workflow_completion as wcomp

from tests.replay.oracle.script import Command, Job, Planned, Scripted, Variant

STALL_SECONDS = 5.0
NONDETERMINISM = 3
GOOD_REASONS = {
    1: "cache full",
    2: "cache miss",
    5: "requested",
    6: "task not found",
    10: "ending",
}


def _hex(message: Any) -> str:
    return message.SerializeToString(deterministic=True).hex()


def _ns(timestamp: Any) -> int:
    return timestamp.seconds * 1_000_000_000 + timestamp.nanos


def outcome(result: Any) -> tuple[Any, ...]:
    status = result.WhichOneof("status")
    if status == "completed":
        completed = result.completed
        return ("completed", _hex(completed.result) if completed.HasField("result") else "")
    if status == "backoff":
        backoff = result.backoff
        nanos = backoff.backoff_duration.ToNanoseconds()
        return (status, backoff.attempt, nanos, _ns(backoff.original_schedule_time))
    return (status, _hex(getattr(result, status).failure))


def job(value: Any) -> Job:
    variant = value.WhichOneof("variant")
    body = getattr(value, variant)
    match variant:
        case "initialize_workflow":
            arguments = "|".join(_hex(p) for p in body.arguments)
            return (
                "init",
                body.workflow_id,
                body.workflow_type,
                body.randomness_seed,
                _ns(body.start_time),
                arguments,
            )
        case "notify_has_patch":
            return ("patch", body.patch_id)
        case "update_random_seed":
            return ("seed", body.randomness_seed)
        case "signal_workflow":
            inputs = "|".join(_hex(p) for p in body.input)
            return ("signal", body.signal_name, body.identity, body.originating_event_id, inputs)
        case "do_update":
            return ("update", body.protocol_instance_id, body.name, body.run_validator, body.id)
        case "cancel_workflow":
            return ("cancel", body.reason)
        case "fire_timer":
            return ("timer", body.seq)
        case "resolve_activity":
            return ("local" if body.is_local else "activity", body.seq, *outcome(body.result))
        case "resolve_child_workflow_execution_start":
            return ("child_start", body.seq, *_child_start(body))
        case "resolve_child_workflow_execution":
            return ("child", body.seq, *outcome(body.result))
        case "resolve_signal_external_workflow":
            return ("signal_ext", body.seq, _optional_failure(body), body.cause)
        case "resolve_request_cancel_external_workflow":
            return ("cancel_ext", body.seq, _optional_failure(body), body.cause)
        case "resolve_nexus_operation_start":
            return ("nexus_start", body.seq, *_nexus_start(body))
        case "resolve_nexus_operation":
            return ("nexus", body.seq, *_nexus(body.result))
        case "query_workflow":
            return ("query", body.query_id, body.query_type)
        case _:
            raise TypeError(variant)


def _optional_failure(body: Any) -> str:
    return _hex(body.failure) if body.HasField("failure") else ""


def _nexus_start(body: Any) -> tuple[Any, ...]:
    if body.WhichOneof("status") == "failed":
        return ("failed", _hex(body.failed))
    return ("started", body.operation_token)


def _nexus(result: Any) -> tuple[Any, ...]:
    status = result.WhichOneof("status")
    # Our engine does not tell a time-out from another failure: the failure itself says it.
    return ("failed" if status == "timed_out" else status, _hex(getattr(result, status)))


def _child_start(body: Any) -> tuple[Any, ...]:
    status = body.WhichOneof("status")
    if status == "succeeded":
        return ("started", body.succeeded.run_id)
    if status == "failed":
        failed = body.failed
        return ("failed", failed.workflow_id, failed.workflow_type, failed.cause)
    return ("cancelled", _hex(body.cancelled.failure))


def payload(text: str) -> common.Payload:
    return common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())


def command(value: Command) -> wc.WorkflowCommand:
    result = wc.WorkflowCommand()
    match value:
        case ("start_timer", seq, ms):
            result.start_timer.seq = seq
            result.start_timer.start_to_fire_timeout.FromMilliseconds(ms)
        case ("start_activity", seq, name, cancel_type):
            activity = result.schedule_activity
            activity.seq = seq
            activity.activity_id = f"a{seq}" if seq % 2 else str(seq)
            activity.activity_type = name
            activity.start_to_close_timeout.FromSeconds(10)
            activity.cancellation_type = cancel_type
        case ("plan_activity", seq, identifier, name, cancel_type):
            result.schedule_activity.seq = seq
            result.schedule_activity.activity_id = identifier
            result.schedule_activity.activity_type = name
            result.schedule_activity.cancellation_type = cancel_type
        case ("start_local", seq, name, cancel_type):
            local = result.schedule_local_activity
            local.seq = seq
            local.activity_id = f"a{seq}"
            local.activity_type = name
            local.attempt = 1
            local.start_to_close_timeout.FromSeconds(10)
            local.cancellation_type = cancel_type
        case ("start_child", seq, name, cancel_type):
            child = result.start_child_workflow_execution
            child.seq = seq
            child.namespace = "default"
            child.workflow_id = f"child-{seq}"
            child.workflow_type = name
            child.cancellation_type = cancel_type
        case ("start_signal_ext", seq, child_only):
            signal = result.signal_external_workflow_execution
            signal.seq = seq
            signal.signal_name = "hello"
            if child_only:
                signal.child_workflow_id = "other"
            else:
                signal.workflow_execution.workflow_id = "other"
        case ("start_cancel_ext", seq):
            cancel = result.request_cancel_external_workflow_execution
            cancel.seq = seq
            cancel.workflow_execution.workflow_id = "other"
            cancel.reason = "enough"
        case ("cancel_timer", seq):
            result.cancel_timer.seq = seq
        case ("cancel_activity", seq):
            result.request_cancel_activity.seq = seq
        case ("start_nexus", seq, name, cancel_type):
            nexus = result.schedule_nexus_operation
            nexus.seq = seq
            nexus.endpoint = "end"
            nexus.service = "bank"
            nexus.operation = name
            nexus.cancellation_type = cancel_type
        case ("cancel_nexus", seq):
            result.request_cancel_nexus_operation.seq = seq
        case ("cancel_local", seq):
            result.request_cancel_local_activity.seq = seq
        case ("cancel_child", seq):
            result.cancel_child_workflow_execution.child_workflow_seq = seq
            result.cancel_child_workflow_execution.reason = "no longer needed"
        case ("cancel_signal_ext", seq):
            result.cancel_signal_workflow.seq = seq
        case ("set_patch", name, deprecated):
            result.set_patch_marker.patch_id = name
            result.set_patch_marker.deprecated = deprecated
        case ("upsert", key):
            attributes = result.upsert_workflow_search_attributes.search_attributes
            attributes.indexed_fields[key].CopyFrom(payload("blue"))
        case ("modify_memo",):
            memo = result.modify_workflow_properties.upserted_memo
            memo.fields["note"].CopyFrom(payload("x"))
        case ("update_accepted", instance):
            result.update_response.protocol_instance_id = instance
            result.update_response.accepted.SetInParent()
        case ("update_rejected", instance):
            result.update_response.protocol_instance_id = instance
            result.update_response.rejected.CopyFrom(failures.Failure(message="bad update"))
        case ("update_completed", instance):
            result.update_response.protocol_instance_id = instance
            result.update_response.completed.CopyFrom(payload("ok"))
        case ("complete",):
            result.complete_workflow_execution.result.CopyFrom(payload("done"))
        case ("fail",):
            failure = failures.Failure(message="broken")
            result.fail_workflow_execution.failure.CopyFrom(failure)
        case ("cancel_workflow",):
            result.cancel_workflow_execution.SetInParent()
        case ("continue_as_new",):
            result.continue_as_new_workflow_execution.workflow_type = "Script"
        case ("query_result", query_id):
            result.respond_to_query.query_id = query_id
            result.respond_to_query.succeeded.response.CopyFrom(payload("answer"))
        case _:
            raise TypeError(value)
    return result


def activation(value: act.WorkflowActivation) -> dict[str, Any]:
    return {
        "replaying": value.is_replaying,
        "time_ns": _ns(value.timestamp),
        "history_length": value.history_length,
        "history_size": value.history_size_bytes,
        "suggest": value.continue_as_new_suggested,
        "flags": sorted(value.available_internal_flags),
        "sdk_version": value.last_sdk_version,
        "jobs": [job(item) for item in value.jobs],
    }


def _config() -> bridge.WorkerConfig:
    one = bridge.FixedSizeSlotSupplier(1)
    poller = bridge.PollerBehaviorSimpleMaximum(1)
    return bridge.WorkerConfig(
        namespace="default",
        task_queue="queue",
        identity_override=None,
        nondeterminism_as_workflow_fail=False,
        nondeterminism_as_workflow_fail_for_types=set(),
        max_cached_workflows=2,
        tuner=bridge.TunerHolder(bridge.FixedSizeSlotSupplier(2), one, one, one),
        nonsticky_to_sticky_poll_ratio=1,
        no_remote_activities=True,
        disable_payload_error_limit=True,
        task_types=bridge.WorkerTaskTypes(
            enable_workflows=True,
            enable_local_activities=False,
            enable_remote_activities=False,
            enable_nexus=False,
        ),
        sticky_queue_schedule_to_start_timeout_millis=1000,
        max_heartbeat_throttle_interval_millis=1000,
        default_heartbeat_throttle_interval_millis=1000,
        max_activities_per_second=None,
        max_task_queue_activities_per_second=None,
        max_eager_activity_reservations_per_workflow_task=3,
        graceful_shutdown_period_millis=0,
        versioning_strategy=bridge.WorkerVersioningStrategyNone(build_id_no_versioning="b"),
        workflow_task_poller_behavior=bridge.PollerBehaviorSimpleMaximum(2),
        activity_task_poller_behavior=poller,
        nexus_task_poller_behavior=poller,
        plugins=[],
        storage_drivers=set(),
    )


def _runtime() -> bridge_runtime.Runtime:
    return bridge_runtime.Runtime(
        options=bridge_runtime.RuntimeOptions(
            telemetry=bridge_runtime.TelemetryConfig(
                logging=None,
                metrics=None,
            ),
            worker_heartbeat_interval_millis=None,
        )
    )


class Oracle:
    """One replay worker of the official core."""

    def __init__(self) -> None:
        worker_class: Any = bridge.Worker  # its stubs leave the pusher unknown
        self.worker, self.pusher = worker_class.for_replay(_runtime(), _config())

    async def replay(self, request: dict[str, Any]) -> dict[str, Any]:
        """Replay one history to its end or to the first error."""
        variant = Variant(request["variant"])
        script = Scripted(request["seed"], variant, request["at"])
        plan = Planned(request["plan"], variant) if request["plan"] is not None else None
        seen: list[dict[str, Any]] = []
        await self.pusher.push_history(request["id"], base64.b64decode(request["history"]))
        while True:
            try:
                poll = self.worker.poll_workflow_activation()
                value = await asyncio.wait_for(poll, STALL_SECONDS)
            except TimeoutError:
                return {"activations": seen, "verdict": "stall", "message": ""}
            completion = wcomp.WorkflowActivationCompletion(run_id=value.run_id)
            completion.successful.SetInParent()
            eviction = next(
                (j.remove_from_cache for j in value.jobs if j.HasField("remove_from_cache")), None
            )
            if eviction is not None:
                await self.worker.complete_workflow_activation(completion)
                verdict = "ok" if eviction.reason in GOOD_REASONS else "fatal"
                if eviction.reason == NONDETERMINISM:
                    verdict = "nondeterminism"
                return {"activations": seen, "verdict": verdict, "message": eviction.message}
            normal = activation(value)
            seen.append(normal)
            jobs, replaying = normal["jobs"], normal["replaying"]
            if plan is None:
                commands = script.activate(jobs, replaying=replaying)
            else:
                commands = plan.activate(
                    jobs, replaying=replaying, history_length=normal["history_length"]
                )
            for issued in commands:
                completion.successful.commands.append(command(issued))
            await self.worker.complete_workflow_activation(completion)


async def main() -> None:
    """Serve requests until stdin ends."""
    oracle = Oracle()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        answer = await oracle.replay(json.loads(line))
        if answer["verdict"] == "stall":
            oracle = Oracle()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
