"""Commands as a worker sends them. `commands.py` makes the same from the text of scripts."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import command as api
from perdure.wire.api import common, enums
from perdure.wire.times import duration


def command(kind: str, **attributes: Any) -> api.Command:
    """A command by the end of its type's name, for example `command("START_TIMER", timer_id="t")`."""
    made = api.Command(command_type=enums.CommandType.Value(f"COMMAND_TYPE_{kind}"))
    target: Any = getattr(made, f"{kind.lower()}_command_attributes")
    target.SetInParent()
    target.MergeFrom(type(target)(**attributes))
    return made


def json_payloads(*texts: str) -> common.Payloads:
    """These texts as an SDK would encode them."""
    return common.Payloads(
        payloads=[
            common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())
            for text in texts
        ]
    )


def complete_workflow(**attributes: Any) -> api.Command:
    return command("COMPLETE_WORKFLOW_EXECUTION", **attributes)


def fail_workflow(message: str = "no") -> api.Command:
    return command("FAIL_WORKFLOW_EXECUTION", failure={"message": message})


def cancel_workflow() -> api.Command:
    return command("CANCEL_WORKFLOW_EXECUTION")


def continue_as_new(**attributes: Any) -> api.Command:
    return command("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", **attributes)


def start_timer(timer_id: str, timeout_ns: int) -> api.Command:
    return command("START_TIMER", timer_id=timer_id, start_to_fire_timeout=duration(timeout_ns))


def cancel_timer(timer_id: str = "t") -> api.Command:
    return command("CANCEL_TIMER", timer_id=timer_id)


def schedule_activity(
    activity_id: str = "a", queue: str = "q", *, timeout_s: int = 10, **attributes: Any
) -> api.Command:
    """An activity of type "A"; its start-to-close timeout is `timeout_s`. Attributes that are None are not set."""
    usual: dict[str, Any] = {
        "activity_type": {"name": "A"},
        "task_queue": {"name": queue},
        "start_to_close_timeout": {"seconds": timeout_s},
    }
    return command("SCHEDULE_ACTIVITY_TASK", activity_id=activity_id, **(usual | attributes))


def cancel_activity(scheduled_event_id: int) -> api.Command:
    return command("REQUEST_CANCEL_ACTIVITY_TASK", scheduled_event_id=scheduled_event_id)


def start_child(workflow_id: str = "c", **attributes: Any) -> api.Command:
    """A child workflow of type "C"."""
    usual = {"workflow_type": {"name": "C"}}
    return command(
        "START_CHILD_WORKFLOW_EXECUTION", workflow_id=workflow_id, **(usual | attributes)
    )


def signal_external(workflow_id: str, run_id: str = "", **attributes: Any) -> api.Command:
    """A signal to another run, named "hello"."""
    usual: dict[str, Any] = {"signal_name": "hello"}
    return command(
        "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION",
        execution={"workflow_id": workflow_id, "run_id": run_id},
        **(usual | attributes),
    )


def cancel_external(workflow_id: str, run_id: str = "", **attributes: Any) -> api.Command:
    return command(
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION",
        workflow_id=workflow_id,
        run_id=run_id,
        **attributes,
    )
