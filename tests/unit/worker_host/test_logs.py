"""The workflow logger: what each record says, inside a run, inside an update, outside, and while replaying."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from perdure import workflow
from tests.unit.worker_host.driver import Driver

ADAPTER = workflow.LoggerAdapter(logging.getLogger("perdure.test"), None)


@workflow.defn
class Says:
    def __init__(self) -> None:
        self.extra: dict[str, Any] | None = None

    @workflow.run
    async def run(self, extra: dict[str, Any] | None = None) -> None:
        self.extra = extra
        ADAPTER.info("hello %s", "you", extra=extra)
        ADAPTER.debug("not said")
        await workflow.wait_condition(lambda: False)

    @workflow.update
    def change(self) -> None:
        ADAPTER.info("changed", extra=self.extra)

    @workflow.query
    def state(self) -> bool:
        ADAPTER.info("asked")
        return ADAPTER.isEnabledFor(logging.INFO)


@pytest.fixture(autouse=True)
def defaults(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, "perdure.test")
    before = dict(vars(ADAPTER))
    yield
    vars(ADAPTER).update(before)


RUN = {
    "attempt": 1,
    "namespace": "default",
    "run_id": "r",
    "task_queue": "queue",
    "workflow_id": "w",
    "workflow_type": "Says",
}
UPDATE = RUN | {"update_id": "u", "update_name": "change"}
KEYS = ("mine", "temporal_workflow", "workflow_info")


def said(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name in KEYS}


def test_what_is_set_unless_told() -> None:
    for extra in (None, {}, {"a": 1}):
        made = workflow.LoggerAdapter(logging.getLogger("perdure.test"), extra)
        assert made.extra == (extra or {})
        assert (made.workflow_info_on_message, made.workflow_info_on_extra) == (True, True)
        assert not made.full_workflow_info_on_extra
        assert not made.log_during_replay
        assert not made.disable_sandbox
        made.unsafe_disable_sandbox()
        assert made.disable_sandbox
        made.unsafe_disable_sandbox(value=False)
        assert not made.disable_sandbox
        assert made.base_logger is logging.getLogger("perdure.test")


@pytest.mark.parametrize("on_message", [True, False])
@pytest.mark.parametrize("on_extra", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("own", [None, {"mine": 1}, {"temporal_workflow": "own"}])
def test_what_a_log_line_says_about_its_workflow(
    caplog: pytest.LogCaptureFixture,
    on_message: bool,
    on_extra: bool,
    whole: bool,
    own: dict[str, Any] | None,
) -> None:
    ADAPTER.workflow_info_on_message = on_message
    ADAPTER.workflow_info_on_extra = on_extra
    ADAPTER.full_workflow_info_on_extra = whole
    run = Driver(Says)
    run.start(own)
    run.update("change")
    started, changed = caplog.records
    for record, text, details in ((started, "hello you", RUN), (changed, "changed", UPDATE)):
        assert record.getMessage() == (f"{text} ({details})" if on_message else text)
        found = said(record)
        info = found.pop("workflow_info", None)
        assert (info is not None) == whole
        assert info is None or info.workflow_id == "w"
        expected: dict[str, Any] = {"temporal_workflow": details} if on_extra else {}
        assert found == expected | (own or {})


@pytest.mark.parametrize("whole", [True, False])
def test_outside_a_workflow_nothing_is_added(caplog: pytest.LogCaptureFixture, whole: bool) -> None:
    ADAPTER.full_workflow_info_on_extra = whole
    ADAPTER.info("plain", extra={"mine": 1})
    ADAPTER.debug("not said")
    (record,) = caplog.records
    assert (record.getMessage(), said(record)) == ("plain", {"mine": 1})
    assert ADAPTER.isEnabledFor(logging.INFO)
    assert not ADAPTER.isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize("replaying", [True, False])
@pytest.mark.parametrize("during_replay", [True, False])
def test_a_run_that_replays_is_silent_unless_told_but_its_queries_are_not(
    caplog: pytest.LogCaptureFixture, replaying: bool, during_replay: bool
) -> None:
    ADAPTER.log_during_replay = during_replay
    run = Driver(Says)
    run.replaying = replaying
    run.start()
    assert len(caplog.records) == (1 if during_replay or not replaying else 0)
    caplog.clear()
    assert run.ask("state") is True
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["asked"]


def test_the_line_that_logged_is_named(caplog: pytest.LogCaptureFixture) -> None:
    Driver(Says).start()
    ADAPTER.info("outside")
    assert [record.funcName for record in caplog.records] == [
        "run",
        "test_the_line_that_logged_is_named",
    ]
