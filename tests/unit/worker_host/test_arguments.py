"""Arguments of handlers: a wrong number of them, and types of those that are given."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue
from perdure.exceptions import ApplicationError
from perdure.replay import commands
from perdure.worker import HandleSignalInput, HandleUpdateInput, WorkflowInboundInterceptor
from perdure.worker.host import HostOptions
from tests.unit.worker_host.doing import doing
from tests.unit.worker_host.driver import Driver, result


@dataclass
class Job:
    n: int


@workflow.defn
class Taking:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    async def run(self, job: Job, note: str = "") -> None:
        self.seen.append(repr(job))
        workflow.set_signal_handler("late", self.late)
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def one(self, job: Job, note: str = "-") -> None:
        self.seen.append(f"{job!r}{note}")

    @workflow.signal
    async def varied(self, *jobs: Job) -> None:
        self.seen.append(repr(jobs))

    @workflow.signal
    def keyword(self, job: Job, *, note: str = "-") -> None:
        self.seen.append(f"{job!r}{note}")

    def late(self, job: Job) -> None:
        self.seen.append(f"late {job!r}")

    @workflow.update
    def updated(self, job: Job, note: str = "-") -> str:
        return f"{job!r}{note}"

    @workflow.query
    def asked(self, job: Job, note: str = "-") -> str:
        return f"{job!r}{note}"

    @workflow.query
    def all(self) -> list[str]:
        return self.seen


JOB = {"n": 1}


def test_hints_hold_when_optional_arguments_are_left_out():
    run = Driver(Taking)
    run.start(JOB)
    for signal, args in (
        ("one", [JOB]),
        ("one", [JOB, "note"]),
        ("varied", []),
        ("varied", [JOB, JOB]),
        ("keyword", [JOB]),
        ("late", [JOB]),
    ):
        run.signal(signal, *args)
    assert run.ask("all") == [
        "Job(n=1)",
        "Job(n=1)-",
        "Job(n=1)note",
        "()",
        "(Job(n=1), Job(n=1))",
        "Job(n=1)-",
        "late Job(n=1)",
    ]
    assert run.ask("asked", JOB) == "Job(n=1)-"
    assert _outcomes(run.update("updated", JOB))[-1] == commands.UpdateCompleted


def _outcomes(found: list[commands.Command]) -> list[type]:
    return [type(each.response) for each in found if isinstance(each, commands.UpdateResponse)]


@pytest.mark.parametrize(
    ("signal", "args", "told"),
    [
        ("one", [], "one takes 1 to 2 argument(s), but 0 were given"),
        ("one", [JOB, "a", "b"], "one takes 1 to 2 argument(s), but 3 were given"),
        ("keyword", [JOB, "a"], "keyword takes 1 argument(s), but 2 were given"),
        ("late", [], "late takes 1 argument(s), but 0 were given"),
    ],
)
def test_a_signal_with_a_wrong_number_of_arguments_is_dropped_and_logged(
    signal: str, args: list[Any], told: str, caplog: pytest.LogCaptureFixture
):
    run = Driver(Taking)
    run.start(JOB)
    assert run.signal(signal, *args) == []
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert (
        record.getMessage()
        == f"Dropped the signal {signal} of workflow Taking (id w, run r): {told}"
    )
    run.signal("one", JOB)
    assert run.ask("all") == ["Job(n=1)", "Job(n=1)-"]


@pytest.mark.parametrize("args", [[], [JOB, "a", "b"]], ids=["too few", "too many"])
def test_an_update_with_a_wrong_number_of_arguments_is_rejected(args: list[Any]):
    run = Driver(Taking)
    run.start(JOB)
    found = run.update("updated", *args)
    assert _outcomes(found) == [commands.UpdateRejected]
    (rejected,) = found
    assert isinstance(rejected, commands.UpdateResponse)
    assert isinstance(rejected.response, commands.UpdateRejected)
    assert "updated takes 1 to 2 argument(s)" in rejected.response.failure.message
    assert run.ask("all") == ["Job(n=1)"]


class Repairing(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:
        input.args = [Job(2)]
        await super().handle_signal(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        if len(input.args) == 3:
            input.args = [Job(3)]
        return await super().handle_update_handler(input)


def test_interceptors_may_put_the_number_right():
    run = Driver(Taking, HostOptions(interceptor_classes=(Repairing,)))
    run.start(JOB)
    run.signal("one")
    assert run.ask("all") == ["Job(n=1)", "Job(n=2)-"]
    assert _outcomes(run.update("updated", JOB, "a", "b")) == [
        commands.UpdateAccepted,
        commands.UpdateCompleted,
    ]
    # What the interceptor leaves wrong fails the update, not the workflow task.
    found = run.update("updated")
    assert _outcomes(found) == [commands.UpdateAccepted, commands.UpdateRejected]
    last = found[-1]
    assert isinstance(last, commands.UpdateResponse)
    assert isinstance(last.response, commands.UpdateRejected)
    assert last.response.failure.application_failure_info.non_retryable


@workflow.defn
class Registering:
    """Its interceptor has handlers of its own."""

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(heard))
        return heard[0]


heard: list[str] = []


class Adding(WorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        workflow.set_query_handler("who", lambda: workflow.info().workflow_id)
        super().__init__(next)

    def init(self, outbound: Any) -> None:
        workflow.set_signal_handler("hear", heard.append)
        workflow.set_update_handler("fail", self._fail)
        super().init(outbound)

    def _fail(self) -> None:
        raise ApplicationError(f"{workflow.info().workflow_type} {workflow.now():%Y}")


def test_interceptors_may_register_handlers_when_they_are_made():
    heard.clear()
    run = Driver(Registering, HostOptions(interceptor_classes=(Adding,)))
    run.start()
    assert run.ask("who") == "w"
    found = run.update("fail")
    last = found[-1]
    assert isinstance(last, commands.UpdateResponse)
    assert isinstance(last.response, commands.UpdateRejected)
    assert last.response.failure.message == "Registering 2023"
    assert result(run.signal("hear", "text")) == "text"


with pytest.warns(DeprecationWarning, match="vararg"):

    @workflow.defn
    class TakingAnything(Taking):
        @workflow.run
        async def run(self, job: Job, note: str = "") -> None:
            await super().run(job, note)

        @workflow.signal(dynamic=True)
        def anything(self, name: str, *jobs: Job) -> None:
            self.seen.append(f"{name} {jobs!r}")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_all_arguments_of_a_dynamic_handler_have_its_hint(count: int):
    run = Driver(TakingAnything)
    run.start(JOB)
    run.signal("unheard_of", *[JOB] * count)
    assert run.ask("all")[-1] == f"unheard_of {(Job(1),) * count!r}"


def _old_form(_name: str, *_args: Any) -> None: ...
def _new_form(_name: str, _args: Sequence[RawValue]) -> None: ...
async def _asynchronous() -> None: ...


WARNED: list[tuple[Callable[[], None], str]] = [
    (lambda: workflow.set_dynamic_signal_handler(_old_form), "Dynamic signals with vararg"),
    (lambda: workflow.set_dynamic_query_handler(_old_form), "Dynamic queries with vararg"),
    (lambda: workflow.set_query_handler("q", _asynchronous), "Queries as async def"),
    (lambda: workflow.set_dynamic_signal_handler(_new_form), ""),
    (lambda: workflow.set_dynamic_query_handler(_new_form), ""),
    (lambda: workflow.set_signal_handler("s", _asynchronous), ""),
    (lambda: workflow.set_query_handler("q", _old_form), ""),
]


@pytest.mark.parametrize(("sets", "warning"), WARNED)
def test_handlers_of_an_old_form_are_warned_about_at_the_users_line(
    sets: Callable[[], None], warning: str
):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        doing(sets)
    told = [str(each.message) for each in found]
    assert [each.startswith(warning) for each in told] == [True] * bool(warning), told
    assert all(each.filename == __file__ for each in found)
