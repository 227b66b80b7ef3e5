"""Rows of `workflow start`, `execute` and `result`."""

from __future__ import annotations

import re

from perdure.wire.api import enums
from tests.unit.cli.engine import QUEUE, Ran
from tests.unit.cli.table import Bench, Check, new_id, row, rows

STARTS = ("workflow start", "workflow execute")
NS = 1_000_000_000


def begin(bench: Bench, command: str, *flags: str, kind: str = "Echo", stdin: str = "") -> Ran:
    words = [*command.split(), "--type", kind, "--task-queue", QUEUE, *flags]
    return bench.run(*words, stdin=stdin)


def sent(bench: Bench, command: str, *flags: str, kind: str = "Echo"):
    """The start that a command, which must succeed, has sent."""
    words = [*command.split(), "--type", kind, "--task-queue", QUEUE, *flags]
    return bench.sent("StartWorkflowExecution", *words)


@rows(STARTS, "--type", "--task-queue", "--workflow-id")
def _names(command: str) -> Check:
    def check(bench: Bench) -> None:
        workflow_id = new_id()
        request = sent(bench, command, "-w", workflow_id, kind="Nothing")
        named = (request.workflow_id, request.workflow_type.name, request.task_queue.name)
        assert named == (workflow_id, "Nothing", QUEUE)
        assert (
            bench.done("workflow", "result", "-w", workflow_id, "-o", "json").json["result"] is None
        )
        other = sent(bench, command, kind="Nothing")
        assert re.fullmatch(r"Nothing-[0-9a-f-]{36}", other.workflow_id)

    return check


@row("workflow start")
def _returns_at_once(bench: Bench) -> None:
    workflow_id, run_id = bench.opened()
    assert bench.status(workflow_id) == "RUNNING"
    assert bench.status(workflow_id, run_id) == "RUNNING"


@row("workflow execute")
def _waits(bench: Bench) -> None:
    workflow_id = new_id()
    ran = begin(bench, "workflow execute", "-w", workflow_id, "-o", "json", "--input", "[7]")
    assert ran.code == 0
    assert ran.json["result"] == [[7]]
    assert bench.status(workflow_id) == "COMPLETED"
    failed = begin(bench, "workflow execute", kind="Fails")
    assert failed.code == 5
    assert "did not complete: FAILED: Declined: no funds" in failed.err
    assert len(failed.err.splitlines()) == 1


@row("workflow result")
def _result_of_a_failed_one(bench: Bench) -> None:
    for kind, verb, status, reason in (
        ("Fails", "", "FAILED", "Declined: no funds"),
        ("FailsSealed", "", "FAILED", "Sealed: no key"),
        ("Open", "cancel", "CANCELED", "Workflow cancelled"),
        ("Open", "terminate", "TERMINATED", "Workflow terminated"),
    ):
        workflow_id, _ = bench.opened(kind=kind)
        if verb:
            bench.done("workflow", verb, "-w", workflow_id)
        ran = bench.run("workflow", "result", "-w", workflow_id, "-o", "json")
        assert (ran.code, ran.json["status"]) == (5, status)
        assert reason in ran.json["failure"]
        assert f"workflow {workflow_id!r} did not complete: {status}" in ran.err


@row("workflow result", "--workflow-id", "--run-id")
def _result_of_a_run(bench: Bench) -> None:
    workflow_id, first, second = bench.two_runs()
    old = bench.done("workflow", "result", "-w", workflow_id, "-r", first, "-o", "json").json
    assert (old["workflowId"], old["runId"], old["status"]) == (workflow_id, first, "COMPLETED")
    bench.done("workflow", "terminate", "-w", workflow_id)
    for words in ((), ("-r", second)):
        ran = bench.run("workflow", "result", "-w", workflow_id, *words, "-o", "json")
        assert (ran.code, ran.json["status"]) == (5, "TERMINATED")


# ── times ────────────────────────────────────────────────────────────────────────────────────────────


@rows(STARTS, "--run-timeout", "--execution-timeout", "--task-timeout")
def _timeouts(command: str) -> Check:
    def check(bench: Bench) -> None:
        fields = {
            "--run-timeout": "workflow_run_timeout",
            "--execution-timeout": "workflow_execution_timeout",
            "--task-timeout": "workflow_task_timeout",
        }
        for flag, own in fields.items():
            request = sent(bench, command, flag, "1m30.5s")
            for other, field in fields.items():
                assert request.HasField(field) is (flag == other), (flag, field)
            assert getattr(request, own).ToNanoseconds() == 90_500_000_000
        for flag in fields:
            too_long = begin(bench, command, flag, "3652501d")
            assert too_long.code == 2
            assert "longer than the API knows" in too_long.err
        assert begin(bench, command, "--run-timeout", "1").code == 2
        late = begin(bench, "workflow execute", "--run-timeout", "1s", "-o", "json", kind="Open")
        assert (late.code, late.json["status"]) == (5, "TIMED_OUT")

    return check


@rows(STARTS, "--start-delay")
def _start_delay(command: str) -> Check:
    def check(bench: Bench) -> None:
        request = sent(bench, command, "--start-delay", "20ms")
        assert request.workflow_start_delay.ToNanoseconds() == 20_000_000
        assert not sent(bench, command).HasField("workflow_start_delay")

    return check


@rows(STARTS, "--cron")
def _cron(command: str) -> Check:
    def check(bench: Bench) -> None:
        bench.engine.recorder.requests.clear()
        ran = begin(bench, command, "--cron", "0 12 * * *")
        assert bench.engine.last("StartWorkflowExecution").cron_schedule == "0 12 * * *"
        # Servers without cron say so.
        assert ran.code == 1
        assert "CronSchedule" in ran.err
        assert sent(bench, command).cron_schedule == ""

    return check


# ── ids that are taken ───────────────────────────────────────────────────────────────────────────────


@rows(STARTS, "--id-reuse-policy")
def _reuse(command: str) -> Check:
    def check(bench: Bench) -> None:
        names = enums.WorkflowIdReusePolicy
        workflow_id, _ = bench.closed("1")
        flags = ["-w", workflow_id, "--id-reuse-policy"]
        for spelled, code in (
            ("AllowDuplicateFailedOnly", 1), ("RejectDuplicate", 1), ("AllowDuplicate", 0), ("TerminateIfRunning", 0),
        ):  # fmt: skip
            bench.engine.recorder.requests.clear()
            assert begin(bench, command, *flags, spelled).code == code, spelled
            policy = bench.engine.last("StartWorkflowExecution").workflow_id_reuse_policy
            snake = re.sub(r"(?<!^)(?=[A-Z])", "_", spelled).upper()
            assert names.Name(policy) == f"WORKFLOW_ID_REUSE_POLICY_{snake}"
        assert begin(bench, command, *flags, "allowduplicate").code == 2
        # A policy that was spelled out is obeyed to the letter: it does not attach.
        held, _ = bench.opened()
        assert begin(bench, command, "-w", held, "--id-reuse-policy", "AllowDuplicate").code == 1

    return check


@rows(STARTS, "--id-conflict-policy", "--fail-existing")
def _conflict(command: str) -> Check:
    def check(bench: Bench) -> None:
        workflow_id, run_id = bench.opened()
        for flags in (["--id-conflict-policy", "Fail"], ["--fail-existing"]):
            refused = begin(bench, command, "-w", workflow_id, *flags)
            assert refused.code == 1
            assert f"workflow {workflow_id!r} is already running (run {run_id})" in refused.err
            assert "--id-conflict-policy UseExisting or TerminateExisting" in refused.err
        assert bench.status(workflow_id) == "RUNNING"
        words = ["-w", workflow_id, "-o", "json", "--command-timeout"]
        if command == "workflow start":
            attached = begin(bench, command, *words, "30s")
            assert attached.json["runId"] == run_id
            assert f"{workflow_id!r} is already running; this is that run" in attached.err
            used = begin(bench, command, *words, "30s", "--id-conflict-policy", "UseExisting")
            assert (used.json["runId"], used.err) == (run_id, "")
        replaced = begin(
            bench,
            command,
            "-w",
            workflow_id,
            "--id-conflict-policy",
            "TerminateExisting",
            "-o",
            "json",
        )
        assert replaced.code == 0
        assert replaced.json["runId"] != run_id
        assert bench.status(workflow_id, run_id) == "TERMINATED"

    return check


# ── what it carries ──────────────────────────────────────────────────────────────────────────────────


@rows(STARTS, "--memo")
def _memo(command: str) -> Check:
    def check(bench: Bench) -> None:
        workflow_id = new_id()
        words = ["-w", workflow_id, "--memo", 'why="be=cause"', "--memo", "n=[1]"]
        fields = sent(bench, command, *words).memo.fields
        assert {key: field.data for key, field in fields.items()} == {
            "why": b'"be=cause"',
            "n": b"[1]",
        }
        shown = bench.done("workflow", "describe", "-w", workflow_id).out
        assert "be=cause" in shown
        for wrong, message in (
            ("x", "'x' is not KEY=VALUE"),
            ("=1", "is not KEY=VALUE"),
            ("x=y", "not JSON"),
        ):
            ran = begin(bench, command, "--memo", wrong)
            assert ran.code == 2
            assert "--memo" in ran.err
            assert message in ran.err

    return check


@rows(STARTS, "--search-attribute")
def _search_attribute(command: str) -> Check:
    def check(bench: Bench) -> None:
        values = {
            "Color": ('"red"', b"Keyword"), "Number": ("7", b"Int"), "Rate": ("7.5", b"Double"),
            "Good": ("true", b"Bool"), "Tags": ('["a", "b"]', b"KeywordList"),
        }  # fmt: skip
        workflow_id = new_id()
        words = [
            word
            for key, (text, _) in values.items()
            for word in ("--search-attribute", f"{key}={text}")
        ]
        request = sent(bench, command, "-w", workflow_id, *words)
        fields = request.search_attributes.indexed_fields
        assert {key: field.metadata["type"] for key, field in fields.items()} == {
            key: kind for key, (_, kind) in values.items()
        }
        answer = bench.done("workflow", "describe", "-w", workflow_id, "-o", "json").json
        indexed = answer["workflowExecutionInfo"]["searchAttributes"]["indexedFields"]
        # A worker that has its build id adds a search attribute of its own.
        assert {key: value for key, value in indexed.items() if key in values} == {
            "Color": "red",
            "Number": 7,
            "Rate": 7.5,
            "Good": True,
            "Tags": ["a", "b"],
        }
        for wrong in ("null", "{}", "[1]"):
            ran = begin(bench, command, "--search-attribute", f"Color={wrong}")
            assert ran.code == 2
            assert (
                "--search-attribute Color: write a text, a number, true, false or a list of texts"
                in ran.err
            )
        assert begin(bench, command, "--search-attribute", "x").code == 2
        assert begin(bench, command, "--search-attribute", "Unknown=1").code == 1

    return check


@rows(STARTS, "--static-summary", "--static-details")
def _metadata(command: str) -> Check:
    def check(bench: Bench) -> None:
        summary = sent(bench, command, "--static-summary", "in short").user_metadata
        assert (summary.summary.data, summary.details.data) == (b'"in short"', b"")
        details = sent(bench, command, "--static-details", "at length").user_metadata
        assert (details.summary.data, details.details.data) == (b"", b'"at length"')

    return check


@rows(STARTS, "--priority-key", "--fairness-key", "--fairness-weight")
def _priority(command: str) -> Check:
    def check(bench: Bench) -> None:
        def given(*flags: str) -> tuple[int, str, float]:
            found = sent(bench, command, *flags).priority
            return found.priority_key, found.fairness_key, found.fairness_weight

        assert given() == (0, "", 0.0)
        assert given("--priority-key", "2") == (2, "", 0.0)
        assert given("--fairness-key", "k") == (0, "k", 0.0)
        assert given("--fairness-weight", "1.5") == (0, "", 1.5)
        assert given("--priority-key", "5", "--fairness-key", "k", "--fairness-weight", "2") == (
            5,
            "k",
            2,
        )
        for wrong in ("0", "6", "x"):
            assert begin(bench, command, "--priority-key", wrong).code == 2

    return check


# ── output ───────────────────────────────────────────────────────────────────────────────────────────


@row("workflow start", "--output")
def _output_of_start(bench: Bench) -> None:
    workflow_id = new_id()
    words = ("-w", workflow_id)
    text = begin(bench, "workflow start", *words)
    assert text.lines[0] == "Running execution:"
    named = dict(line.split(maxsplit=1) for line in text.lines[1:])
    about = {"WorkflowId": workflow_id, "Type": "Echo", "Namespace": "default", "TaskQueue": QUEUE}
    run_id = named.pop("RunId")
    assert named == about
    bench.done("workflow", "result", "-w", workflow_id)
    pretty = begin(bench, "workflow start", *words, "-o", "json")
    assert pretty.json.keys() == {"workflowId", "runId", "type", "namespace", "taskQueue"}
    assert pretty.json["runId"] != run_id
    assert len(pretty.lines) == 7
    bench.done("workflow", "result", "-w", workflow_id)
    assert len(begin(bench, "workflow start", *words, "-o", "jsonl").lines) == 1
    bench.done("workflow", "result", "-w", workflow_id)
    assert begin(bench, "workflow start", *words, "-o", "none") == (0, "", "")
    assert begin(bench, "workflow start", *words, "-o", "yaml").code == 2


@row("workflow execute", "--output")
def _output_of_execute(bench: Bench) -> None:
    text = begin(bench, "workflow execute", "--input", '"é"')
    assert text.lines[0] == "Running execution:"
    assert [line.split(maxsplit=1) for line in text.lines[-2:]] == [
        ["Status", "COMPLETED"],
        ["Result", '["é"]'],
    ]
    nothing = begin(bench, "workflow execute", kind="Nothing")
    assert nothing.lines[-1].split() == ["Result", "null"]
    for form, count in (("json", 8), ("jsonl", 1)):
        ran = begin(bench, "workflow execute", "-o", form, kind="Nothing")
        assert len(ran.lines) == count + (form == "json")
        assert ran.json | {"workflowId": "", "runId": ""} == {
            "workflowId": "", "runId": "", "type": "Nothing", "namespace": "default", "taskQueue": QUEUE,
            "status": "COMPLETED", "result": None,
        }  # fmt: skip
        failed = begin(bench, "workflow execute", "-o", form, kind="Fails")
        assert failed.json["status"] == "FAILED"
        assert failed.json["failure"] == "Declined: no funds"
        assert "result" not in failed.json
    assert begin(bench, "workflow execute", "-o", "none") == (0, "", "")
    failed = begin(bench, "workflow execute", "-o", "none", kind="Fails")
    assert (failed.code, failed.out) == (5, "")
    shown = begin(bench, "workflow execute", kind="Fails").lines[-2:]
    assert [line.split(maxsplit=1) for line in shown] == [
        ["Status", "FAILED"],
        ["Failure", "Declined: no funds"],
    ]


@row("workflow result", "--output")
def _output_of_result(bench: Bench) -> None:
    workflow_id, _ = bench.closed("1")
    words = ("workflow", "result", "-w", workflow_id)
    text = bench.done(*words).lines
    assert [line.split(maxsplit=1) for line in text] == [["Status", "COMPLETED"], ["Result", "[1]"]]
    expected = {"workflowId": workflow_id, "status": "COMPLETED", "result": [1]}
    assert bench.done(*words, "-o", "json").json == expected
    (line,) = bench.done(*words, "-o", "jsonl").lines
    assert line.startswith("{")
    assert bench.done(*words, "-o", "none").out == ""
