"""A pytest plugin that writes how long each test took, and which tests failed with which message.

It is loaded with `-p tests.planting.listener`. The environment variable `PLANTING_RESULT` names the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

RESULT_VARIABLE = "PLANTING_RESULT"

_durations: dict[str, float] = {}
_failed: list[tuple[str, str]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _durations[report.nodeid] = _durations.get(report.nodeid, 0.0) + report.duration
    if report.failed:
        _failed.append((report.nodeid, _message(report)))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _failed.append((report.nodeid, report.longreprtext.strip().splitlines()[-1]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = os.environ.get(RESULT_VARIABLE)
    if target and not hasattr(session.config, "workerinput"):
        result = {"durations": _durations, "failed": _failed}
        Path(target).write_text(json.dumps(result), encoding="utf-8")


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(getattr(crash, "message", report.longreprtext))
    return text.strip().splitlines()[0][:200] if text.strip() else ""
