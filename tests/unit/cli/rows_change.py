"""Rows of `workflow signal`, `query`, `cancel` and `terminate`."""

from __future__ import annotations

from typing import Any

from tests.unit.cli.table import Bench, row


def state(bench: Bench, workflow_id: str, run_id: str = "", *more: str) -> Any:
    """What a workflow says that it was given, was sent, and is asked."""
    words = [
        "workflow",
        "query",
        "-w",
        workflow_id,
        *(["-r", run_id] if run_id else []),
        "--name",
        "state",
    ]
    return bench.done(*words, *more, "-o", "json").json["queryResult"]


def event(bench: Bench, workflow_id: str, run_id: str, kind: str) -> Any:
    """The attributes of the one event of a kind."""
    shown = bench.done(
        "workflow", "show", "-w", workflow_id, "-r", run_id, "-o", "json", "--decode"
    ).json
    (found,) = [
        one
        for one in shown["events"]
        if one["eventType"] == f"EVENT_TYPE_WORKFLOW_EXECUTION_{kind}"
    ]
    words = kind.lower().split("_")
    name = "".join(word.capitalize() for word in words)
    return found[f"workflowExecution{name}EventAttributes"]


CHANGES = {
    "workflow signal": ["--name", "note"],
    "workflow cancel": [],
    "workflow terminate": [],
}


@row(tuple(CHANGES), "--workflow-id", "--run-id")
def _which_run_is_changed(bench: Bench) -> None:
    for command, more in CHANGES.items():
        workflow_id, first, second = bench.two_runs()
        words = command.split()
        closed = bench.run(*words, "-w", workflow_id, "-r", first, *more)
        if command == "workflow cancel":
            assert closed.code == 0, "to cancel what is over is no error, and changes nothing"
        else:
            assert closed.code == 1, command
            assert "it is closed and takes nothing more" in closed.err
        assert bench.run(*words, "-w", "no-such-workflow", *more).code == 4
        assert bench.status(workflow_id) == "RUNNING"
        assert state(bench, workflow_id) == [[2], [], []], "nothing reached the other run"
        assert (
            "CancelRequested"
            not in bench.done("workflow", "show", "-w", workflow_id, "--detailed").out
        )
        bench.done(*words, "-w", workflow_id, "-r", second, *more)
        other, run_id = bench.opened()
        bench.done(*words, "-w", other, *more)
        for changed, run in ((workflow_id, second), (other, run_id)):
            kind = {"signal": "SIGNALED", "cancel": "CANCEL_REQUESTED", "terminate": "TERMINATED"}[
                words[1]
            ]
            assert event(bench, changed, run, kind) is not None
        assert bench.status(workflow_id, first) == "COMPLETED"


@row("workflow query", "--workflow-id", "--run-id")
def _which_run_is_asked(bench: Bench) -> None:
    workflow_id, first, second = bench.two_runs()
    assert state(bench, workflow_id, first)[0] == [1]
    assert state(bench, workflow_id, second)[0] == [2]
    assert state(bench, workflow_id)[0] == [2]
    assert bench.run("workflow", "query", "-w", "no-such-workflow", "--name", "state").code == 4


@row("workflow signal", "--name", "")
def _signal(bench: Bench) -> None:
    workflow_id, _ = bench.opened()
    bench.done("workflow", "signal", "-w", workflow_id, "--name", "note", "-i", "1", "-i", '"two"')
    bench.done("workflow", "signal", "-w", workflow_id, "--type", "note")
    assert state(bench, workflow_id)[1] == [[1, "two"], []]
    bench.done("workflow", "signal", "-w", workflow_id, "--name", "finish")
    ran = bench.done("workflow", "result", "-w", workflow_id, "-o", "json")
    assert ran.json["result"] == [[1, "two"], []]
    assert bench.run("workflow", "signal", "-w", workflow_id).code == 2


@row("workflow query", "--name", "")
def _query(bench: Bench) -> None:
    workflow_id, _ = bench.opened('"given"')
    assert state(bench, workflow_id, "", "-i", "1", "-i", "[2]") == [["given"], [], [1, [2]]]
    words = ("workflow", "query", "-w", workflow_id)
    assert bench.done(*words, "--type", "nothing").out == "null\n"
    broken = bench.run(*words, "--name", "broken")
    assert (broken.code, broken.out) == (1, "")
    assert broken.err == "perdure: query 'broken' failed: cannot say\n"
    unknown = bench.run(*words, "--name", "colour")
    assert unknown.code == 1
    assert "query 'colour' failed: " in unknown.err
    assert "nothing state" in unknown.err


@row("workflow query", "--reject-condition")
def _reject(bench: Bench) -> None:
    opened, _ = bench.opened("1")
    completed, _ = bench.closed(kind="Nothing")
    failed, _ = bench.opened(kind="Fails")
    assert bench.run("workflow", "result", "-w", failed).code == 5

    def ask(workflow_id: str, *condition: str) -> tuple[int, str]:
        words = ["workflow", "query", "-w", workflow_id, "--name", "__stack_trace", "-o", "none"]
        ran = bench.run(
            *words, *[word for one in condition for word in ("--reject-condition", one)]
        )
        return ran.code, ran.err

    def rejected(workflow_id: str, status: str) -> tuple[int, str]:
        return 1, f"perdure: not asked: workflow {workflow_id!r} is {status}\n"

    for workflow_id in (opened, completed, failed):
        assert ask(workflow_id) == (0, "")
    assert ask(opened, "not_open") == (0, "")
    assert ask(completed, "not_open") == rejected(completed, "COMPLETED")
    assert ask(failed, "not_open") == rejected(failed, "FAILED")
    assert ask(opened, "not_completed_cleanly") == (0, "")
    assert ask(completed, "not_completed_cleanly") == (0, "")
    assert ask(failed, "not_completed_cleanly") == rejected(failed, "FAILED")
    assert ask(opened, "none")[0] == 2


@row("workflow cancel", "--reason", "")
def _cancel(bench: Bench) -> None:
    for reason, recorded in (((), None), (("--reason", "too late"), "too late")):
        workflow_id, run_id = bench.opened()
        bench.done("workflow", "cancel", "-w", workflow_id, *reason)
        assert event(bench, workflow_id, run_id, "CANCEL_REQUESTED").get("cause") == recorded
        assert bench.run("workflow", "result", "-w", workflow_id).code == 5
        assert bench.status(workflow_id) == "CANCELED"


@row("workflow terminate", "--reason", "")
def _terminate(bench: Bench) -> None:
    for reason, recorded in (((), None), (("--reason", "too late"), "too late")):
        workflow_id, run_id = bench.opened()
        bench.done("workflow", "terminate", "-w", workflow_id, *reason)
        assert bench.status(workflow_id) == "TERMINATED", "at once"
        assert event(bench, workflow_id, run_id, "TERMINATED").get("reason") == recorded


@row(tuple(CHANGES), "--output")
def _output_of_changes(bench: Bench) -> None:
    texts = {
        "workflow signal": ("signal 'note' accepted", {"signal": "note"}),
        "workflow cancel": ("cancellation of {!r} requested", {"cancelRequested": True}),
        "workflow terminate": ("workflow {!r} terminated", {"terminated": True}),
    }
    for command, (text, about) in texts.items():
        words = [*command.split(), *CHANGES[command], "-w"]
        workflow_id, _ = bench.opened()
        assert bench.done(*words, workflow_id).out == text.format(workflow_id) + "\n"
        workflow_id, run_id = bench.opened()
        ran = bench.done(*words, workflow_id, "-o", "json")
        assert ran.json == {"workflowId": workflow_id, **about}
        assert len(ran.lines) == 4
        workflow_id, run_id = bench.opened()
        ran = bench.done(*words, workflow_id, "-r", run_id, "-o", "jsonl")
        assert ran.json == {"workflowId": workflow_id, "runId": run_id, **about}
        assert len(ran.lines) == 1
        workflow_id, _ = bench.opened()
        assert bench.done(*words, workflow_id, "-o", "none") == (0, "", "")


@row("workflow query", "--output")
def _output_of_query(bench: Bench) -> None:
    workflow_id, _ = bench.opened('{"é": 1}')
    words = ("workflow", "query", "-w", workflow_id, "--name", "state")
    assert bench.done(*words).out == '[[{"é": 1}], [], []]\n'
    answer = [[{"é": 1}], [], []]
    pretty = bench.done(*words, "-o", "json")
    assert pretty.json == {"queryResult": answer}
    assert len(pretty.lines) > 1
    assert bench.done(*words, "-o", "jsonl").out == '{"queryResult": [[{"é": 1}], [], []]}\n'
    assert bench.done(*words, "-o", "none").out == ""
