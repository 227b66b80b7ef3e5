"""A reset while a later attempt is on its way to a worker."""

from __future__ import annotations

import pytest

from perdure.core.ids import QueueKind
from perdure.core.units import SECOND_NS
from perdure.history import transitions
from perdure.history.activity.pause import pause_activity, unpause_activity
from perdure.history.activity.reset import reset_activity
from perdure.wire.api import failure, workflowservice
from perdure.wire.times import duration
from tests.unit.history.harness import Run, schedule_activity


@pytest.mark.parametrize("how", ["reset", "unpause"])
def test_a_start_is_taken_back_though_its_attempt_has_another_number_by_now(how: str) -> None:
    """Otherwise nobody would have the activity until its time-out, which may be hours away."""
    run = Run()
    run.start()
    task = run.poll_workflow()
    run.complete(
        task, [schedule_activity("a", start_to_close_timeout=duration(36_000 * SECOND_NS))]
    )
    first = run.poll_activity()
    failed = workflowservice.RespondActivityTaskFailedRequest(
        failure=failure.Failure(
            message="x", application_failure_info=failure.ApplicationFailureInfo()
        )
    )
    run.do(transitions.fail_activity, first.token, failed)
    run.sleep(2 * SECOND_NS)
    second = run.poll_activity()
    assert second.token.attempt == 2
    if how == "reset":
        run.do(reset_activity, workflowservice.ResetActivityRequest(id="a"))
    else:
        run.do(pause_activity, workflowservice.PauseActivityRequest(id="a"))
        request = workflowservice.UnpauseActivityRequest(id="a", reset_attempts=True)
        run.do(unpause_activity, request)
    run.do(transitions.undo_activity_start, second.token)
    again = run.poll(kind=QueueKind.ACTIVITY)
    assert again is not None, "it is in its queue"
    run.do(transitions.undo_activity_start, second.token)
    assert run.poll(kind=QueueKind.ACTIVITY) is None, "the start of another poller stays"
