"""The command line against a real server: verbs, exit codes, one-line errors, graceful ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, free_port, running

pytestmark = [pytest.mark.e2e]

APPROVAL = ["--type", "Approval", "--task-queue", "approvals", "--input", '{"what": "it"}']


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with running(
        tmp_path_factory.mktemp("command-line"), "examples.approval.worker:worker"
    ) as started:
        yield started


def one_line(text: str) -> bool:
    return len(text.strip().splitlines()) == 1


def start(stack: Stack, workflow_id: str, *more: str) -> dict[str, str]:
    words = ["workflow", "start", "--workflow-id", workflow_id, *APPROVAL, *more, "-o", "json"]
    started: dict[str, str] = stack.cli(*words).json
    return started


def test_start_tells_the_ids(stack: Stack):
    started = start(stack, "tells-ids")
    assert started["workflowId"] == "tells-ids"
    assert started["type"] == "Approval"
    assert started["namespace"] == "default"
    assert started["taskQueue"] == "approvals"
    assert started["runId"]


def test_starting_a_running_workflow_attaches_unless_told_otherwise(stack: Stack):
    first = start(stack, "twice")
    again = stack.cli("workflow", "start", "--workflow-id", "twice", *APPROVAL, "-o", "json")
    assert again.json["runId"] == first["runId"]
    assert "already running" in again.stderr
    refused = stack.try_cli(
        "workflow", "start", "--workflow-id", "twice", *APPROVAL, "--fail-existing"
    )
    assert refused.returncode == 1
    assert "--id-conflict-policy" in refused.stderr
    assert one_line(refused.stderr)
    replaced = start(stack, "twice", "--id-conflict-policy", "TerminateExisting")
    assert replaced["runId"] != first["runId"]


def test_list_and_count(stack: Stack):
    start(stack, "listed")
    found = stack.cli("workflow", "list", "-o", "json").json
    assert "listed" in {item["execution"]["workflowId"] for item in found}
    assert "listed" in stack.cli("workflow", "list").stdout
    lines = stack.cli("workflow", "list", "-o", "jsonl", "--limit", "1").stdout.splitlines()
    assert len(lines) == 1


def test_describe_shows_state_in_words_and_as_json(stack: Stack):
    started = start(stack, "described", "--memo", 'why="because"')
    text = stack.cli("workflow", "describe", "--workflow-id", "described").stdout
    assert "RUNNING" in text
    assert started["runId"] in text
    assert "because" in text
    answer = stack.cli("workflow", "describe", "--workflow-id", "described", "-o", "json").json
    assert answer["workflowExecutionInfo"]["execution"]["runId"] == started["runId"]
    assert answer["workflowExecutionInfo"]["memo"]["fields"]["why"] == "because"


def test_cancel_and_terminate(stack: Stack):
    start(stack, "to-cancel")
    stack.cli("workflow", "cancel", "--workflow-id", "to-cancel")
    done = stack.try_cli("workflow", "result", "--workflow-id", "to-cancel", "-o", "json")
    assert done.returncode == 5
    assert done.json["status"] == "CANCELED"
    start(stack, "to-terminate")
    stack.cli("workflow", "terminate", "--workflow-id", "to-terminate", "--reason", "enough")
    done = stack.try_cli("workflow", "result", "--workflow-id", "to-terminate")
    assert done.returncode == 5
    assert "TERMINATED" in done.stdout
    assert "enough" in stack.cli("workflow", "show", "--workflow-id", "to-terminate").stdout


def test_follow_goes_on_until_the_end(stack: Stack):
    start(stack, "followed")
    stack.cli(
        "workflow", "signal", "--workflow-id", "followed", "--name", "approve", "--input", '"Ada"'
    )
    lines = stack.cli(
        "workflow", "show", "--workflow-id", "followed", "--follow"
    ).stdout.splitlines()
    assert "workflow started" in lines[0]
    assert "workflow completed" in lines[-1]


def test_shown_json_can_be_replayed(stack: Stack):
    start(stack, "raw")
    stack.cli("workflow", "terminate", "--workflow-id", "raw")
    started = stack.events("raw")[0]["workflowExecutionStartedEventAttributes"]
    assert set(started["input"]["payloads"][0]) == {"metadata", "data"}
    words = ["workflow", "show", "--workflow-id", "raw", "-o", "json", "--decode"]
    decoded = stack.cli(*words).json["events"][0]["workflowExecutionStartedEventAttributes"]
    assert decoded["input"] == [{"what": "it"}]


def test_a_closed_workflow_takes_nothing_more(stack: Stack):
    start(stack, "closed")
    stack.cli("workflow", "terminate", "--workflow-id", "closed")
    for verb in (["terminate"], ["signal", "--name", "approve", "--input", '"Ada"']):
        done = stack.try_cli("workflow", *verb, "--workflow-id", "closed")
        assert done.returncode == 1, done.stderr
        assert "it is closed and takes nothing more" in done.stderr


@pytest.mark.parametrize("verb", ["show", "describe", "cancel", "terminate", "result"])
def test_a_workflow_that_is_not_there_is_code_4(stack: Stack, verb: str):
    done = stack.try_cli("workflow", verb, "--workflow-id", "no-such-workflow")
    assert done.returncode == 4, done.stderr
    assert one_line(done.stderr)


def test_an_unknown_namespace_is_named(stack: Stack):
    done = stack.try_cli("workflow", "list", "--namespace", "nowhere")
    assert done.returncode == 4, done.stderr
    assert "nowhere" in done.stderr
    assert one_line(done.stderr)


def test_an_unknown_query_says_which_there_are(stack: Stack):
    start(stack, "asked")
    done = stack.try_cli("workflow", "query", "--workflow-id", "asked", "--name", "colour")
    assert done.returncode == 1
    assert "colour" in done.stderr
    assert "status" in done.stderr


def test_no_server_is_code_3_and_says_what_to_do(stack: Stack):
    address = f"127.0.0.1:{free_port()}"
    words = ["workflow", "list", "--address", address, "--client-connect-timeout", "2s"]
    done = stack.try_cli(*words)
    assert done.returncode == 3, done.stderr
    assert address in done.stderr
    assert "perdure server start-dev" in done.stderr
    assert one_line(done.stderr)


def test_the_environment_names_the_server(stack: Stack):
    nowhere = f"127.0.0.1:{free_port()}"
    ours = {"PERDURE_ADDRESS": stack.address, "TEMPORAL_ADDRESS": nowhere}
    assert stack.try_cli("workflow", "list", **ours).returncode == 0
    del stack.environment["PERDURE_ADDRESS"]
    try:
        assert stack.try_cli("workflow", "list", TEMPORAL_ADDRESS=stack.address).returncode == 0
        theirs = {"TEMPORAL_ADDRESS": stack.address, "TEMPORAL_NAMESPACE": "nowhere"}
        assert stack.try_cli("workflow", "list", **theirs).returncode == 4
        assert (
            stack.try_cli("workflow", "list", PERDURE_NAMESPACE="default", **theirs).returncode == 0
        )
    finally:
        stack.environment["PERDURE_ADDRESS"] = stack.address


# ── the server's own start and end ───────────────────────────────────────────────────────────────────


def test_a_port_in_use_is_named(tmp_path: Path):
    stack = Stack(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = stack.try_cli("server", "start-dev", "--headless", "--port", port)
    assert done.returncode == 1
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_in_use_is_refused(stack: Stack):
    words = [
        "server",
        "start-dev",
        "--headless",
        "--port",
        "0",
        "--db-filename",
        str(stack.database),
    ]
    done = stack.try_cli(*words)
    assert done.returncode == 1
    assert "perdure.db" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_file_it_says_that_everything_is_in_memory(tmp_path: Path):
    stack = Stack(tmp_path)
    try:
        stack.start("server", "server", "start-dev", "--headless", "--port", str(stack.port))
        stack.wait("the announcement", lambda: "in memory" in stack.log_text("server"))
        assert "keep it with --db-filename" in stack.log_text("server")
    finally:
        stack.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_and_worker_end_gracefully(tmp_path: Path, number: signal.Signals):
    with running(tmp_path, "examples.approval.worker:worker") as stack:
        stack.wait("the worker", lambda: "worker started" in stack.log_text("worker-0"))
        assert stack.end("worker-0", number) == 0
        assert stack.end("server", number) == 0
        for name in ("worker-0", "server"):
            assert "Traceback" not in stack.log_text(name)


def test_a_worker_waits_for_its_server_and_outlives_its_restart(tmp_path: Path):
    stack = Stack(tmp_path)
    try:
        stack.start_worker("examples.approval.worker:worker")
        stack.wait(
            "the worker to say so", lambda: "waiting for a server" in stack.log_text("worker")
        )
        stack.start_server()
        start(stack, "before")
        stack.wait(
            "the first steps", lambda: "ACTIVITY_TASK_COMPLETED" in stack.event_types("before")
        )
        stack.kill("server")
        stack.start_server()
        stack.cli(
            "workflow", "signal", "--workflow-id", "before", "--name", "approve", "--input", '"Ada"'
        )
        result = stack.cli("workflow", "result", "--workflow-id", "before", "-o", "json").json
        assert result["result"] == "approved by Ada"
        stack.check_alive("worker")
    finally:
        stack.close()
