"""The training text's example runs as it is written there, with the import name changed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.e2e.stack import Stack, running

pytestmark = [pytest.mark.e2e]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with running(
        tmp_path_factory.mktemp("training"), "tests.e2e.training.worker:worker"
    ) as started:
        yield started


def test_the_greeting_as_written(stack: Stack):
    done = stack.cli(
        "workflow", "execute", "--type", "GreetingWorkflow", "--task-queue", "training",
        "--workflow-id", "training-1", "--input", '"World"', "-o", "json",
    ).json  # fmt: skip
    assert done["result"] == "Hello, World!"
    assert "Running activity with parameter World" in stack.log_text("worker-0")
    # Once, although the workflow ran in several tasks: the workflow's logger is silent during replay.
    assert stack.log_text("worker-0").count("Running workflow with parameter World") == 1
    assert "ACTIVITY_TASK_COMPLETED" in stack.event_types("training-1")


def test_base_class_alias_direct_call_and_deterministic_values(stack: Stack):
    stack.cli(
        "workflow", "start", "--type", "Inheriting", "--task-queue", "training",
        "--workflow-id", "training-2", "--input", "21",
    )  # fmt: skip
    stack.cli("workflow", "signal", "--workflow-id", "training-2", "--name", "go")
    result = stack.cli("workflow", "result", "--workflow-id", "training-2", "-o", "json").json[
        "result"
    ]
    assert result["doubled"] == 42
    assert result["slept"] is True
    assert "ACTIVITY_TASK_SCHEDULED" in stack.event_types("training-2")

    # The same values come out of a replay in a fresh process: the query needs the whole workflow replayed.
    stack.kill("worker-0")
    stack.start_worker("tests.e2e.training.worker:worker", name="worker-0")
    answer = stack.cli("workflow", "query", "--workflow-id", "training-2", "--name", "drawn")
    assert answer.stdout.strip() == "true"
