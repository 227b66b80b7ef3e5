"""Rows of `workflow list`, `count`, `show` and `describe`."""

from __future__ import annotations

import json

from tests.unit.cli.engine import QUEUE, eventually
from tests.unit.cli.table import Bench, new_id, row

OWN_QUEUE = "of-lists"
FILTER = f"TaskQueue = '{OWN_QUEUE}'"


def listable(bench: Bench, count: int) -> list[str]:
    """Ids of new workflows on a queue of their own, the latest first; earlier ones are ended and not found."""
    for found in listed(bench, f"{FILTER} AND ExecutionStatus = 'Running'"):
        bench.done("workflow", "terminate", "-w", found)
    ids = [new_id() for _ in range(count)]
    for workflow_id in ids:
        bench.done("workflow", "start", "-w", workflow_id, "--type", "Open", "-t", OWN_QUEUE)
    return ids[::-1]


def listed(bench: Bench, query: str, *more: str) -> list[str]:
    ran = bench.done("workflow", "list", "--query", query, *more, "-o", "jsonl")
    return [json.loads(line)["execution"]["workflowId"] for line in ran.lines]


RUNNING = f"{FILTER} AND ExecutionStatus = 'Running'"


@row("workflow list", "--query", "")
def _list(bench: Bench) -> None:
    other, _ = bench.opened()
    ids = listable(bench, 3)
    assert listed(bench, RUNNING) == ids
    assert listed(bench, f"WorkflowId = '{ids[1]}'") == [ids[1]]
    everything = bench.done("workflow", "list", "-o", "jsonl")
    found = {json.loads(line)["execution"]["workflowId"] for line in everything.lines}
    assert {*ids, other} <= found
    wrong = bench.run("workflow", "list", "-q", "Colour = 1")
    assert wrong.code == 1
    assert "unknown field Colour" in wrong.err
    assert wrong.err.endswith("[INVALID_ARGUMENT]\n")


@row("workflow list", "--limit", "--page-size")
def _pages(bench: Bench) -> None:
    ids = listable(bench, 5)
    for size, sizes in ((1, [1] * 5), (2, [2] * 3), (4, [4] * 2), (1_000, [1_000])):
        bench.engine.recorder.requests.clear()
        assert listed(bench, RUNNING, "--page-size", str(size)) == ids
        asked = [one.message.page_size for one in bench.engine.requests("ListWorkflowExecutions")]
        assert asked[: len(sizes)] == sizes
        for limit in range(1, 7):
            assert (
                listed(bench, RUNNING, "--limit", str(limit), "--page-size", str(size))
                == ids[:limit]
            )
    bench.engine.recorder.requests.clear()
    assert listed(bench, RUNNING) == ids
    assert bench.engine.last("ListWorkflowExecutions").page_size == 100
    for flag, wrong in (("--limit", "0"), ("--page-size", "0"), ("--page-size", "1001")):
        assert bench.run("workflow", "list", flag, wrong).code == 2


@row("workflow list", "--output")
def _output_of_list(bench: Bench) -> None:
    ids = listable(bench, 2)
    words = ("workflow", "list", "--query", RUNNING)
    text = bench.done(*words)
    assert text.lines[0].split("  ")[0] == "STATUS"
    assert text.lines[0].split() == ["STATUS", "WORKFLOW", "ID", "TYPE", "STARTED", "RUN", "ID"]
    rows = [line.split() for line in text.lines[1:]]
    assert [(one[0], one[1], one[2], one[4]) for one in rows] == [
        ("RUNNING", workflow_id, "Open", "ago") for workflow_id in ids
    ]
    found = bench.done(*words, "-o", "json").json
    assert [one["execution"]["workflowId"] for one in found] == ids
    assert [one[5] for one in rows] == [one["execution"]["runId"] for one in found]
    assert len(bench.done(*words, "-o", "jsonl").lines) == 2
    assert bench.done(*words, "-o", "none").out == ""
    nothing = ("workflow", "list", "--query", "WorkflowId = 'no-such-workflow'")
    assert bench.done(*nothing).out == "STATUS  WORKFLOW ID  TYPE  STARTED  RUN ID\n"
    assert bench.done(*nothing, "-o", "json").json == []
    assert bench.done(*nothing, "-o", "jsonl").out == ""


@row("workflow count", "--query", "--output", "")
def _count(bench: Bench) -> None:
    ids = listable(bench, 3)
    bench.done("workflow", "terminate", "-w", ids[0])
    words = ("workflow", "count", "--query")
    assert bench.done(*words, RUNNING).out == "Total: 2\n"
    by_status = (*words, f"WorkflowId = '{ids[0]}' GROUP BY ExecutionStatus")
    assert bench.done(*by_status).out == "Total: 1\n  Terminated: 1\n"
    assert bench.done(*by_status, "-o", "json").json == {
        "count": 1, "groups": [{"groupValues": ["Terminated"], "count": 1}],
    }  # fmt: skip
    assert bench.done(*words, RUNNING, "-o", "jsonl").out == '{"count": 2}\n'
    assert bench.done(*words, RUNNING, "-o", "none").out == ""
    everything = bench.done("workflow", "count", "-o", "json").json["count"]
    assert everything > 2
    assert bench.run(*words, "Colour = 1").code == 1


# ── show ─────────────────────────────────────────────────────────────────────────────────────────────


@row("workflow show", "--workflow-id", "--run-id", "")
def _show(bench: Bench) -> None:
    workflow_id, first, second = bench.two_runs()
    words = ("workflow", "show", "-w", workflow_id)
    for run, given, status in (
        ((), 2, "running for"),
        (("-r", second), 2, "running"),
        (("-r", first), 1, "completed"),
    ):
        text = bench.done(*words, *run).lines
        assert text[0].startswith(f"Open  {workflow_id}  {status}")
        assert text[1].startswith(f"run {first if given == 1 else second} ")
        assert text[3].endswith(f"Open({given})")
    missing = bench.run("workflow", "show", "-w", "no-such-workflow")
    assert missing.code == 4
    assert "check --workflow-id, --run-id and --namespace" in missing.err


@row("workflow show", "--detailed", "--reverse", "--no-cut")
def _styles(bench: Bench) -> None:
    workflow_id, _ = bench.closed('"' + "long" * 100 + '"', kind="Steps")
    words = ("workflow", "show", "-w", workflow_id)
    names = [line.split()[3:5] for line in bench.done(*words).lines[3:]]
    assert [" ".join(one) for one in names] == [
        "workflow started",
        "activity shout",
        "workflow completed",
    ]
    detailed = [line.split()[3] for line in bench.done(*words, "--detailed").lines[3:]]
    assert detailed[:4] == [
        "WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted",
    ]  # fmt: skip
    assert len(detailed) == 11
    backwards = bench.done(*words, "--reverse").lines[3:]
    assert [line.split()[0] for line in backwards] == ["11", "5–7", "1"]
    ids = [one["eventId"] for one in bench.done(*words, "--reverse", "-o", "json").json["events"]]
    assert ids == [str(number) for number in range(11, 0, -1)]
    lines = bench.done(*words, "--reverse", "-o", "jsonl").lines
    assert [json.loads(line)["eventId"] for line in lines] == ids
    cut, whole = bench.done(*words).out, bench.done(*words, "--no-cut").out
    assert max(len(line) for line in cut.splitlines()) == 200, (
        "what does not go to a terminal is wide"
    )
    assert "long" * 100 not in cut
    assert "long" * 100 in whole
    assert "LONG" * 100 in whole


@row("workflow show", "--output", "--decode")
def _output_of_show(bench: Bench) -> None:
    workflow_id, _ = bench.closed("[1]")
    words = ("workflow", "show", "-w", workflow_id)
    shown = bench.done(*words, "-o", "json").json
    assert [one["eventId"] for one in shown["events"]] == ["1", "2", "3", "4", "5"]
    started = shown["events"][0]["workflowExecutionStartedEventAttributes"]
    assert started["input"] == {
        "payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "WzFd"}]
    }
    decoded = bench.done(*words, "-o", "json", "--decode").json["events"]
    assert decoded[0]["workflowExecutionStartedEventAttributes"]["input"] == [[1]]
    lines = [json.loads(line) for line in bench.done(*words, "-o", "jsonl").lines]
    assert lines == shown["events"]
    lines = [json.loads(line) for line in bench.done(*words, "-o", "jsonl", "--decode").lines]
    assert lines == decoded
    assert bench.done(*words, "-o", "none").out == ""
    assert bench.done(*words).lines[0].startswith("Echo  ")


@row("workflow show", "--follow")
def _follow(bench: Bench) -> None:
    workflow_id, _ = bench.opened()
    words = ("workflow", "show", "-w", workflow_id, "--follow")
    # It does not end before the workflow does.
    assert bench.run(*words, "--command-timeout", "200ms").code == 1
    for number in range(3):
        bench.done("workflow", "signal", "-w", workflow_id, "--name", "note", "-i", str(number))
    bench.done("workflow", "signal", "-w", workflow_id, "--name", "finish")
    bench.done("workflow", "result", "-w", workflow_id)
    lines = bench.done(*words).lines
    steps = [line.split()[4] for line in lines]
    assert steps[0] == "started"
    assert steps[-1] == "completed"
    assert [line.split()[-1] for line in lines if "signal note" in line] == ["(0)", "(1)", "(2)"]
    assert "WorkflowTask" not in "".join(lines)
    assert lines[0].split()[:2] == ["1", "0.000s"]
    assert "WorkflowTaskStarted" in bench.done(*words, "--detailed").out
    events = bench.done("workflow", "show", "-w", workflow_id, "-o", "jsonl").lines
    assert bench.done(*words, "-o", "jsonl").lines == events
    raw = json.loads(bench.done(*words, "-o", "jsonl", "--decode").lines[0])
    assert raw["workflowExecutionStartedEventAttributes"].get("input") is None
    assert len(bench.done(*words, "-o", "json").json["events"]) == len(events)
    assert bench.done(*words, "-o", "none").out == ""


# ── describe ─────────────────────────────────────────────────────────────────────────────────────────


@row("workflow describe", "--workflow-id", "--run-id", "")
def _describe(bench: Bench) -> None:
    workflow_id, first, second = bench.two_runs()
    words = ("workflow", "describe", "-w", workflow_id)
    bench.engine.recorder.requests.clear()
    for run, run_id, status in (
        ((), second, "RUNNING"),
        (("-r", second), second, "RUNNING"),
        (("-r", first), first, "COMPLETED"),
    ):
        lines = bench.done(*words, *run).lines
        assert lines[0] == "Execution:"
        named = dict(line.split(maxsplit=1) for line in lines[1:])
        assert (named["WorkflowId"], named["RunId"], named["Status"]) == (
            workflow_id,
            run_id,
            status,
        )
        assert (named["Type"], named["TaskQueue"]) == ("Open", QUEUE)
        assert ("Closed" in named) is (run_id == first)
    assert bench.engine.requests("GetWorkflowExecutionHistory") == [], "nothing fails"
    assert bench.run("workflow", "describe", "-w", "no-such-workflow").code == 4
    # Its class takes no argument: the task fails again and again, and the reason is told.
    stuck, _ = bench.opened("1", kind="Waits")
    reason = "  TypeError: Workflow Waits was started with 1 argument(s)"
    eventually(lambda: reason in bench.done("workflow", "describe", "-w", stuck).out)
    assert bench.engine.requests("GetWorkflowExecutionHistory")
    bench.engine.recorder.requests.clear()
    for form in (["-o", "json"], ["-o", "none"], ["--raw"]):
        bench.done("workflow", "describe", "-w", stuck, *form)
    assert bench.engine.requests("GetWorkflowExecutionHistory") == [], (
        "who does not read is not told"
    )
    bench.done("workflow", "terminate", "-w", stuck)


@row("workflow describe", "--raw", "--output")
def _output_of_describe(bench: Bench) -> None:
    workflow_id = new_id()
    words = [
        "workflow",
        "start",
        "-w",
        workflow_id,
        "--type",
        "Waits",
        "-t",
        QUEUE,
        "--memo",
        'why="é"',
    ]
    run_id = bench.done(*words, "-o", "json").json["runId"]
    words = ["workflow", "describe", "-w", workflow_id]

    def is_retried() -> bool:
        answer = bench.done(*words, "-o", "json").json
        return any(one.get("lastFailure") for one in answer.get("pendingActivities", ()))

    eventually(is_retried)
    text = bench.done(*words).out
    assert "Pending activities: 2" in text
    assert "Pending children: 1" in text
    assert [f"{workflow_id}/child", "Open"] in [line.split()[:2] for line in text.splitlines()]
    assert "Declined: no funds" in text
    assert "why" in text
    decoded = bench.done(*words, "-o", "json").json
    assert decoded["workflowExecutionInfo"]["execution"]["runId"] == run_id
    assert decoded["workflowExecutionInfo"]["memo"]["fields"] == {"why": "é"}
    (line,) = bench.done(*words, "-o", "jsonl").lines
    assert json.loads(line)["workflowExecutionInfo"] == decoded["workflowExecutionInfo"]
    assert bench.done(*words, "-o", "none").out == ""
    for more in ((), ("-o", "json")):
        raw = bench.done(*words, "--raw", *more)
        assert set(raw.json["workflowExecutionInfo"]["memo"]["fields"]["why"]) == {
            "metadata",
            "data",
        }
        assert len(raw.lines) > 10
    assert len(bench.done(*words, "--raw", "-o", "jsonl").lines) == 1
    bench.done("workflow", "terminate", "-w", workflow_id)
    bench.run("workflow", "terminate", "-w", f"{workflow_id}/child")
