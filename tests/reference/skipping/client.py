"""The actions of a walk's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.reference.commands import application_failure, payloads

if TYPE_CHECKING:
    from tests.reference.skipping.drive import Stage


async def do(stage: Stage, name: str, step: str) -> None:
    """Describe the run, then perform the action `name`, on an activity or timer if it needs one."""
    await stage.note("client", f"look before: {name} {step}", await stage.describe())
    by_id: dict[str, Any] = {"workflow_id": stage.walk.name, "activity_id": step}
    target: dict[str, Any] = {"workflow_execution": stage.execution}
    match name:
        case "signal" | "cancel step":
            answer = await stage.ask(
                "SignalWorkflowExecution",
                **target,
                signal_name=f"cancel {step}" if step else "signal",
                input=payloads(name),
            )
        case "cancel":
            answer = await stage.ask("RequestCancelWorkflowExecution", **target, reason="asked to")
        case "terminate":
            answer = await stage.ask(
                "TerminateWorkflowExecution",
                **target,
                reason="asked to",
                details=payloads("enough"),
            )
        case "complete by id":
            answer = await stage.ask(
                "RespondActivityTaskCompletedById", **by_id, result=payloads("by id")
            )
        case "fail by id":
            failure = application_failure("by id")
            answer = await stage.ask("RespondActivityTaskFailedById", **by_id, failure=failure)
        case "beat by id":
            answer = await stage.ask(
                "RecordActivityTaskHeartbeatById", **by_id, details=payloads("by id")
            )
        case _:
            return
    await stage.note("client", f"{name} {step}", answer)
