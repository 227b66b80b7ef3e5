"""`describe` of a workflow whose task fails: the report as the worker wrote it, and the user's own line."""

from __future__ import annotations

import perdure.cli
from perdure.cli.workflow_read import task_failure_text
from perdure.wire.api import failure

TRACE = f"""  File "{perdure.cli.__path__[0]}/../worker/roots.py", line 65, in execute_workflow
    return await run()
  File "/srv/flows.py", line 36, in run
    return await workflow.execute_activity(hello, name)
  File "{perdure.cli.__path__[0]}/session.py", line 194, in start_activity
    raise ValueError
"""


def made(message: str, trace: str) -> failure.Failure:
    info = failure.ApplicationFailureInfo(type="ValueError")
    return failure.Failure(message=message, stack_trace=trace, application_failure_info=info)


def test_the_users_line_is_named() -> None:
    text = task_failure_text(made("a time-out is missing", TRACE))
    assert text == "ValueError: a time-out is missing\n  at /srv/flows.py:36 in run"


def test_a_report_keeps_its_lines() -> None:
    report = "[TMPRL1100] Nondeterminism: event 5\n\n  at /srv/flows.py:36:5 in run\n    > 36 | x"
    assert task_failure_text(made(report, TRACE)) == report


def test_without_a_trace_the_message_is_all() -> None:
    assert task_failure_text(made("boom", "")) == "ValueError: boom"
