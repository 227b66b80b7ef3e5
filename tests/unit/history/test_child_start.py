"""A child waits for its own parent, and for nobody else's (S-38)."""

from __future__ import annotations

from perdure.core.ids import run_key
from perdure.entity.env import Env
from perdure.history import transitions
from perdure.history.run.start import Parent
from perdure.history.state.run_state import RunState
from perdure.wire.api import common, taskqueue, workflowservice

MINE, OTHER = run_key("n", "mine", "r1"), run_key("n", "other", "r2")


def env() -> Env:
    return Env(now_ns=10**18, new_id=lambda: "00000000-0000-4000-8000-000000000001")


def child() -> RunState:
    request = workflowservice.StartWorkflowExecutionRequest(
        workflow_id="child",
        workflow_type=common.WorkflowType(name="T"),
        task_queue=taskqueue.TaskQueue(name="q"),
        request_id="r1:5",
    )
    parent = Parent(MINE, "default", 5, MINE.name, MINE.run_id)
    (started,) = transitions.start_child(None, None, request, "n", parent, env())
    assert isinstance(started.state, RunState)
    assert not started.tasks
    return started.state


def test_only_the_start_that_made_it_releases_a_child():
    state = child()
    for parent, request_id in ((OTHER, "r1:5"), (MINE, "r1:9")):
        assert transitions.release_child(state, parent, request_id, env()).is_empty
        assert transitions.discard_child(state, parent, request_id, env()).is_empty
        assert state.workflow_task is None
    released = transitions.release_child(state, MINE, "r1:5", env())
    assert [task.queue.name for task in released.tasks] == ["q"]
    assert transitions.release_child(state, MINE, "r1:5", env()).is_empty
    assert transitions.discard_child(state, MINE, "r1:5", env()).is_empty
