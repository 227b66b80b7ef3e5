"""The parts of the command line that need no engine: logs, terminals, errors, tables."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from perdure import exceptions
from perdure.cli import app, logs, output
from perdure.cli.exits import CommandError, Exit, explain
from perdure.cli.workflow_read import show_description, terminal_style
from perdure.cli.workflow_start import describe_failure
from perdure.client import RPCError, RPCStatusCode
from perdure.rendering.timeline import ASCII, UNICODE
from perdure.wire.api import enums, workflow, workflowservice
from perdure.wire.times import timestamp
from tests.unit.cli.histories import failed, json_payload

S = 10**9
AT_NS = 1_780_000_000 * S
"""2026-05-28 20:26:40 UTC."""

# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────


def record(**fields: object) -> logging.LogRecord:
    made = logging.LogRecord("perdure.x", logging.WARNING, __file__, 1, "é %s", ("you",), None)
    made.created, made.msecs = AT_NS / S, 7.0
    vars(made).update(fields)
    return made


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_a_json_record_says_when_in_utc(zone: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        entry = json.loads(logs.JsonFormatter().format(record()))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert entry == {
        "time": "2026-05-28T20:26:40.007Z", "level": "warning", "logger": "perdure.x", "message": "é you",
    }  # fmt: skip


def test_a_json_record_has_plain_extra_fields_and_the_exception():
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("broken")
    trace = caught.type, caught.value, caught.tb
    text = logs.JsonFormatter().format(
        record(run="r", count=3, share=0.5, done=True, other=[1], exc_info=trace)
    )
    assert "\n" not in text
    assert "é" in text
    entry = json.loads(text)
    exception = entry.pop("exception")
    assert "ValueError: invalid literal" in exception
    assert "Traceback" in exception
    extra = {key: entry[key] for key in entry.keys() - {"time", "level", "logger", "message"}}
    assert extra == {"run": "r", "count": 3, "share": 0.5, "done": True}


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", "diwe"), ("info", "iwe"), ("warn", "we"), ("error", "e"), ("never", "")],
)
@pytest.mark.parametrize("form", ["text", "pretty", "json"])
def test_levels_and_forms(process: None, level: str, shown: str, form: str):
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        logs.set_up("debug", "text")
        logs.set_up(level, form)
    log = logging.getLogger("perdure.test")
    for name, number in (("d", 10), ("i", 20), ("w", 30), ("e", 40)):
        log.log(number, "message %s", name)
    lines = stream.getvalue().splitlines()
    assert [line.rstrip('"}')[-1] for line in lines] == list(shown), "each once"
    assert all(line.startswith("{") is (form == "json") for line in lines)
    if form != "json" and lines:
        assert lines[-1].split()[1:] == ["ERROR", "perdure.test", "message", "e"]


# ── terminals ────────────────────────────────────────────────────────────────────────────────────────


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str, *, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize(
    ("encoding", "is_terminal", "no_cut", "width", "alphabet"),
    [
        ("utf-8", True, False, 77, UNICODE),
        ("utf-8", False, False, 200, UNICODE),
        ("utf-8", True, True, None, UNICODE),
        ("utf-8", False, True, None, UNICODE),
        ("ascii", True, False, 77, ASCII),
        ("latin-1", False, False, 200, ASCII),
    ],
)
def test_a_timeline_fits_where_it_goes(
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    is_terminal: bool,
    no_cut: bool,
    width: int | None,
    alphabet: object,
):
    monkeypatch.setenv("COLUMNS", "77")
    for detailed, newest_first in ((True, False), (False, True)):
        with contextlib.redirect_stdout(Terminal(encoding, is_terminal=is_terminal)):
            style = terminal_style(detailed=detailed, newest_first=newest_first, no_cut=no_cut)
        assert style == (width, alphabet, detailed, newest_first)


class Gone(io.StringIO):
    """An output that nobody reads any more, or whose reader pressed Ctrl-C."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(BrokenPipeError(), 0, None), (KeyboardInterrupt(), 130, "\ninterrupted\n")],
)
def test_a_command_that_is_cut_off(error: BaseException, code: int, said: str | None):
    err = io.StringIO()
    with contextlib.redirect_stdout(Gone(error)), contextlib.redirect_stderr(err):
        assert app.run_for_exit_code(["--version"]) == code
    if said is None:
        assert err.getvalue() == ""
    else:
        assert err.getvalue() == said


def test_a_command_without_words_shows_the_help(capsys: pytest.CaptureFixture[str]):
    for words in ([], ["workflow"], ["db"], ["server"], ["worker"]):
        assert app.run_for_exit_code(words) == Exit.USAGE
        assert "Commands:" in "".join(capsys.readouterr())
    for words in (["-h"], ["--help"], ["workflow", "--help"]):
        assert app.run_for_exit_code(words) == 0
        shown = capsys.readouterr().out
        assert "Exit codes: 0 done; 1 refused or failed;" in " ".join(shown.split())
    assert "terminate" in shown
    assert "Close a workflow at once" in shown
    for words in (["-v"], ["--version"]):
        assert app.run_for_exit_code(words) == 0
        assert capsys.readouterr().out.startswith("perdure ")
    with pytest.raises(SystemExit) as ended:
        app.run(["workflow", "frobnicate"])
    assert ended.value.code == 2


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────


def rpc(status: RPCStatusCode, message: str = "some\nwords") -> RPCError:
    return RPCError(message, status, b"")


CHECK = "check --workflow-id, --run-id and --namespace; `perdure workflow list` shows what there is"
NO_SERVER = (
    "no server answers at host:1; start one with `perdure server start-dev`, or say where it is with --address or "
    "PERDURE_ADDRESS"
)
IS_RUNNING = (
    "workflow 'w' is already running (run r); choose another --workflow-id, or say what to do with it: "
    "--id-conflict-policy UseExisting or TerminateExisting"
)
EXPLAINED: list[tuple[BaseException, Exit, str]] = [
    (CommandError("own words", Exit.USAGE), Exit.USAGE, "own words"),
    (TimeoutError(), Exit.FAILED, "timed out; --command-timeout allows more"),
    (
        rpc(RPCStatusCode.UNAVAILABLE), Exit.UNREACHABLE,
        NO_SERVER,
    ),
    (rpc(RPCStatusCode.NOT_FOUND), Exit.NOT_FOUND, f"some words ({CHECK})"),
    (
        rpc(RPCStatusCode.NOT_FOUND, "workflow execution already completed"), Exit.FAILED,
        "workflow execution already completed: it is closed and takes nothing more",
    ),
    (
        rpc(RPCStatusCode.DEADLINE_EXCEEDED), Exit.FAILED,
        "the server at host:1 did not answer in time: some words",
    ),
    (rpc(RPCStatusCode.UNIMPLEMENTED), Exit.FAILED, "the server at host:1 does not offer this: some words"),
    (rpc(RPCStatusCode.INTERNAL), Exit.FAILED, "some words [INTERNAL]"),
    (
        exceptions.WorkflowAlreadyStartedError("w", "T", run_id="r"), Exit.FAILED,
        IS_RUNNING,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code", "text"), EXPLAINED, ids=[text[:40] for _, _, text in EXPLAINED]
)
def test_an_error_is_one_line_and_a_code(error: BaseException, code: Exit, text: str):
    explained = explain(error, "host:1")
    assert explained is not None
    assert (str(explained), explained.exit_code) == (text, code)


def test_a_bug_is_not_explained():
    assert explain(ZeroDivisionError(), "host:1") is None


def test_exit_codes_do_not_change():
    assert {code.name: int(code) for code in Exit} == {
        "OK": 0, "FAILED": 1, "USAGE": 2, "UNREACHABLE": 3, "NOT_FOUND": 4, "WORKFLOW_NOT_COMPLETED": 5,
        "INTERRUPTED": 130,
    }  # fmt: skip


def test_how_a_workflow_ended():
    told = exceptions.ApplicationError("told")
    told.failure = failed("kept", "T")
    assert [
        describe_failure(cause)
        for cause in (
            exceptions.CancelledError("a\n b"), exceptions.TerminatedError("b"),
            exceptions.TimeoutError("c", type=None, last_heartbeat_details=()), told, ValueError("d"), None,
        )
    ] == [
        ("CANCELED", "a b"), ("TERMINATED", "b"), ("TIMED_OUT", "c"), ("FAILED", "T: kept"), ("FAILED", "d"),
        ("FAILED", "None"),
    ]  # fmt: skip


# ── tables and descriptions ──────────────────────────────────────────────────────────────────────────


def test_fields_and_tables_are_aligned(capsys: pytest.CaptureFixture[str]):
    output.fields([("A", 1), ("Long", "x"), ("None", None), ("Empty", ""), ("Zero", 0)])
    assert capsys.readouterr().out == "  A     1\n  Long  x\n  Zero  0\n"
    output.fields([])
    output.table(("A", "B"), [("long", "x"), ("y", "longer")])
    assert capsys.readouterr().out == "A     B\nlong  x\ny     longer\n"


def described(
    build: Callable[[workflowservice.DescribeWorkflowExecutionResponse], None], **more: Any
) -> list[str]:
    answer = workflowservice.DescribeWorkflowExecutionResponse()
    info = answer.workflow_execution_info
    info.execution.workflow_id, info.execution.run_id = "w", "r"
    info.type.name, info.task_queue, info.status = "T", "q", enums.WORKFLOW_EXECUTION_STATUS_RUNNING
    info.start_time.CopyFrom(timestamp(AT_NS))
    info.history_length = 5
    build(answer)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show_description(answer, "text", AT_NS + 90 * S, **more)
    return out.getvalue().splitlines()


BASE = [
    "Execution:", "  WorkflowId  w", "  RunId       r", "  Type        T", "  Status      RUNNING",
    "  TaskQueue   q", "  Started     2026-05-28T20:26:40Z (1m30s ago)", "  Events      5",
]  # fmt: skip


def test_a_description_of_what_there_is_to_say():
    assert described(lambda _: None) == BASE

    def all_of_it(answer: workflowservice.DescribeWorkflowExecutionResponse) -> None:
        info = answer.workflow_execution_info
        info.status = enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT
        info.close_time.CopyFrom(timestamp(AT_NS + 30 * S))
        info.history_size_bytes = 77
        info.parent_execution.workflow_id = "p"
        info.memo.fields["m"].CopyFrom(json_payload('"x"'))
        info.search_attributes.indexed_fields["a"].CopyFrom(json_payload("1"))

    assert {line.split()[0]: line.split(maxsplit=1)[1] for line in described(all_of_it)[1:]} == {
        "WorkflowId": "w", "RunId": "r", "Type": "T", "Status": "TIMED_OUT", "TaskQueue": "q",
        "Started": "2026-05-28T20:26:40Z (1m30s ago)", "Closed": "2026-05-28T20:27:10Z (after 30.00s)",
        "Events": "5", "Bytes": "77", "Parent": "p", "Memo": "{'m': 'x'}", "SearchAttributes": "{'a': 1}",
    }  # fmt: skip


def test_a_description_of_what_it_waits_for():
    def waits(answer: workflowservice.DescribeWorkflowExecutionResponse) -> None:
        state = enums.PendingActivityState
        waiting = answer.pending_activities.add(
            activity_id="1", activity_type={"name": "charge"}, state=state.PENDING_ACTIVITY_STATE_SCHEDULED,
            attempt=3, maximum_attempts=5, last_failure=failed("no\nfunds", "Declined"),
        )  # fmt: skip
        waiting.scheduled_time.CopyFrom(timestamp(AT_NS + 100 * S))
        due = answer.pending_activities.add(
            activity_id="2", state=state.PENDING_ACTIVITY_STATE_SCHEDULED, attempt=1
        )
        due.scheduled_time.CopyFrom(timestamp(AT_NS + 90 * S))
        started = answer.pending_activities.add(
            activity_id="3", state=state.PENDING_ACTIVITY_STATE_STARTED, attempt=1, paused=True
        )
        started.scheduled_time.CopyFrom(timestamp(AT_NS + 100 * S))
        answer.pending_children.append(
            workflow.PendingChildExecutionInfo(workflow_id="c", workflow_type_name="C", run_id="cr")
        )

    assert described(waits)[len(BASE) :] == [
        "",
        "Pending activities: 3",
        "ID  TYPE    STATE      ATTEMPT  NEXT       LAST FAILURE",
        "1   charge  SCHEDULED  3 of 5   in 10.00s  Declined: no funds",
        "2           SCHEDULED  1",
        "3           PAUSED     1",
        "",
        "Pending children: 1",
        "WORKFLOW ID  TYPE  RUN ID",
        "c            C     cr",
    ]


@pytest.mark.parametrize(("attempt", "problem"), [(1, ""), (2, ""), (2, "why\nit fails")])
def test_a_workflow_task_that_fails_is_described(attempt: int, problem: str):
    def fails(answer: workflowservice.DescribeWorkflowExecutionResponse) -> None:
        answer.pending_workflow_task.attempt = attempt

    lines = described(fails, problem=problem)[len(BASE) :]
    if attempt == 1:
        assert lines == []
        return
    assert lines[:2] == ["", "Its workflow task fails, and is tried again: attempt 2"]
    if problem:
        assert lines[2:] == ["  why", "  it fails"]
    else:
        assert lines[2].startswith("  its history does not say why: a time-out came first")
