"""Two interceptors around every call into and out of a workflow: the order, the inputs, and what comes back.

On the way in the earlier one comes first; on the way out it comes last, as each wraps what it is given in `init`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import ApplicationError
from perdure.replay import commands, jobs
from perdure.worker import WorkflowInboundInterceptor, WorkflowOutboundInterceptor
from perdure.worker.host import HostOptions
from tests.unit.worker_host.driver import CONVERTER, Driver, one, payloads, value

SECOND = timedelta(seconds=1)
log: list[tuple[str, str, list[str], list[str]]]
"""Which interceptor, which method, the arguments and the headers that it was called with."""


@pytest.fixture(autouse=True)
def empty_log() -> None:
    global log  # noqa: PLW0603 - interceptors are made by the host
    log = []


def _methods(kind: type) -> list[str]:
    return [name for name in vars(kind) if not name.startswith("_") and name != "init"]


def _noting(base: type, method: str, name: str) -> Any:
    def note(interceptor: Any, *inputs: Any) -> Any:
        for input in inputs:
            log.append((name, method, list(input.args), list(input.headers)))
            input.args = [*input.args, name]
            input.headers = {**input.headers, name: CONVERTER.to_payload(name)}
        if not inputs:
            log.append((name, method, [], []))
        return getattr(base, method)(interceptor, *inputs)

    return note


def _class(base: type[Any], name: str, **more: Any) -> Any:
    notes = {method: _noting(base, method, name) for method in _methods(base)}
    return type(name, (base,), notes | more)


def interceptor(name: str) -> type[WorkflowInboundInterceptor]:
    outbound = _class(WorkflowOutboundInterceptor, name)

    def init(inbound: WorkflowInboundInterceptor, given: WorkflowOutboundInterceptor) -> None:
        log.append((name, "init", [], []))
        WorkflowInboundInterceptor.init(inbound, outbound(given))

    return _class(WorkflowInboundInterceptor, name, init=init)


class Silent(WorkflowInboundInterceptor):
    """Overrides nothing: everything is passed on."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(WorkflowOutboundInterceptor(outbound))


def driver() -> Driver:
    run = Driver(
        Everything,
        HostOptions(interceptor_classes=[interceptor("outer"), Silent, interceptor("inner")]),
    )
    run.start("x")
    return run


INWARDS = ("outer", "inner")
OUTWARDS = ("inner", "outer")


def both(
    method: str, *args: str, order: tuple[str, str] = INWARDS
) -> list[tuple[str, str, list[str], list[str]]]:
    first, second = order
    return [(first, method, list(args), []), (second, method, [*args, first], [first])]


@workflow.defn
class Everything:
    def __init__(self) -> None:
        self.got: list[str] = []
        self.step = ""

    @workflow.run
    async def run(self, *args: str) -> None:
        self.got += args
        await workflow.wait_condition(lambda: bool(self.step))
        match self.step:
            case "info":
                workflow.info()
            case "activity":
                workflow.start_activity("a", args=["x"], start_to_close_timeout=SECOND)
            case "local":
                workflow.start_local_activity("a", args=["x"], start_to_close_timeout=SECOND)
            case "child":
                child = await workflow.start_child_workflow("C", args=["x"], id="c")
                await child.signal("s", args=["y"])
            case "external":
                other = workflow.get_external_workflow_handle("o")
                await other.signal("s", args=["x"])
            case _:
                workflow.continue_as_new(args=["x"])
        await workflow.sleep(1)

    @workflow.signal
    def go(self, step: str, *_: str) -> None:
        self.step = step

    @workflow.signal
    def hear(self, *args: str) -> None:
        self.got += args

    @workflow.query
    def ask(self, *args: str) -> list[str]:
        return list(args)

    @workflow.update
    def change(self, *args: str) -> list[str]:
        return list(args)

    @change.validator
    def _check(self, *args: str) -> None:
        if "refuse" in args:
            raise ApplicationError("refused: " + " ".join(args))


def test_the_run_and_its_chains() -> None:
    run = driver()
    assert log == [*((name, "init", [], []) for name in ("outer", "inner")),
                   *both("execute_workflow", "x")]  # fmt: skip
    log.clear()
    run.signal("hear", "s")
    assert log == both("handle_signal", "s")
    log.clear()
    assert run.ask("ask", "q") == ["q", "outer", "inner"]
    assert log == both("handle_query", "q")


def test_what_interceptors_change_is_what_handlers_get() -> None:
    run = driver()
    run.signal("hear", "s")
    instance: Any = run.host._state.instance
    assert instance.got == ["x", "outer", "inner", "s", "outer", "inner"]


def test_updates_pass_twice() -> None:
    run = driver()
    log.clear()
    found = run.update("change", "u")
    response = one(found[-1:], commands.UpdateResponse).response
    assert isinstance(response, commands.UpdateCompleted)
    assert value(response.result) == ["u", "outer", "inner"]
    validator, handler = log[:2], log[2:]
    assert validator == both("handle_update_validator", "u")
    # The arguments are decoded afresh; the headers are those that the validator's interceptors left.
    assert [each[:3] for each in handler] == [
        each[:3] for each in both("handle_update_handler", "u")
    ]
    log.clear()
    refused = one(run.update("change", "refuse"), commands.UpdateResponse).response
    assert isinstance(refused, commands.UpdateRejected)
    assert refused.failure.message == "refused: refuse outer inner"
    assert log == both("handle_update_validator", "refuse")


def test_info() -> None:
    run = driver()
    run.signal("go", "info")
    assert [each[0] for each in log if each[1] == "info"] == list(OUTWARDS)


def _assert_changed(command: Any, method: str, arg: str) -> None:
    assert [each for each in log if each[1] == method] == both(method, arg, order=OUTWARDS)
    names = ("arguments", "input", "args")
    (given,) = (getattr(command, name) for name in names if hasattr(command, name))
    assert [value(each) for each in given] == [arg, *OUTWARDS]
    assert list(command.headers) == ["inner", "outer"]


@pytest.mark.parametrize(
    ("step", "kind", "method"),
    [
        ("activity", commands.ScheduleActivity, "start_activity"),
        ("local", commands.ScheduleLocalActivity, "start_local_activity"),
        ("child", commands.StartChildWorkflow, "start_child_workflow"),
        ("external", commands.SignalExternal, "signal_external_workflow"),
        ("next", commands.ContinueAsNew, "continue_as_new"),
    ],
)
def test_commands_are_what_both_made_of_them(step: str, kind: type[Any], method: str) -> None:
    found = driver().signal("go", step)
    command = next(each for each in found if isinstance(each, kind))
    _assert_changed(command, method, "x")


def test_signals_of_a_child_pass_through_the_whole_chain() -> None:
    run = driver()
    run.signal("go", "child")
    log.clear()
    found = run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run")))
    command = one(found, commands.SignalExternal)
    _assert_changed(command, "signal_child_workflow", "y")


def test_the_start_headers_reach_the_outermost_interceptor() -> None:
    run = Driver(Everything, HostOptions(interceptor_classes=[interceptor("outer")]))
    job = run.init_job("x")
    run.activate(
        jobs.InitializeWorkflow(
            workflow_id=job.workflow_id,
            workflow_type=job.workflow_type,
            arguments=job.arguments,
            randomness_seed=1,
            headers={"given": payloads("h")[0]},
            start_time_ns=job.start_time_ns,
            attributes=job.attributes,
        )
    )
    assert log[-1] == ("outer", "execute_workflow", ["x"], ["given"])
