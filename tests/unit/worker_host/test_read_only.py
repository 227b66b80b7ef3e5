"""What a query must not do, each thing by its name, and without leaving a trace in the run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import workflow
from perdure.common import SearchAttributeKey
from perdure.replay import commands, jobs
from perdure.worker import WorkflowInboundInterceptor, WorkflowOutboundInterceptor
from tests.unit.worker_host.doing import TO_ASK, doing
from tests.unit.worker_host.driver import Driver, names, result

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = timedelta(minutes=1)

HANDLES: list[Any] = []
"""An activity, a child and another workflow."""


def _activity() -> Any:
    return HANDLES[0]


def begun(work: Any) -> None:
    """Take the first step of a coroutine, as a query can."""
    try:
        work.send(None)
    finally:
        work.close()


def set_handlers(kind: str) -> None:
    {
        "signal": lambda: workflow.set_signal_handler("s", print),
        "query": lambda: workflow.set_query_handler("q", print),
        "update": lambda: workflow.set_update_handler("u", print),
    }[kind]()


FORBIDDEN: dict[str, Callable[[], Any]] = {
    "random": workflow.random,
    "register random seed callback": lambda: workflow.new_random("mine"),
    "set current details": lambda: workflow.set_current_details("new"),
    "set signal handler": lambda: set_handlers("signal"),
    "set query handler": lambda: set_handlers("query"),
    "set update handler": lambda: set_handlers("update"),
    "schedule timer": lambda: begun(workflow.sleep(1)),
    "wait condition": lambda: begun(workflow.wait_condition(lambda: True)),
    "start activity": lambda: workflow.start_activity("a", start_to_close_timeout=MINUTE),
    "start local activity": lambda: workflow.start_local_activity(
        "a", start_to_close_timeout=MINUTE
    ),
    "start child workflow": lambda: begun(workflow.start_child_workflow("C", id="d")),
    "continue as new": workflow.continue_as_new,
    "patch": lambda: workflow.patched("p"),
    "upsert memo": lambda: workflow.upsert_memo({"a": 1}),
    "upsert search attributes": lambda: workflow.upsert_search_attributes(
        [SearchAttributeKey.for_int("Int").value_set(1)]
    ),
    "schedule task": lambda: asyncio.get_running_loop().call_soon(print),
    "cancel activity handle": lambda: _activity().cancel(),
    "signal child handle": lambda: begun(HANDLES[1].signal("s")),
    "signal external handle": lambda: begun(HANDLES[2].signal("s")),
    "cancel external handle": lambda: begun(HANDLES[2].cancel()),
}


async def main() -> list[Any]:
    HANDLES[:] = [
        workflow.start_activity("a", start_to_close_timeout=MINUTE),
        await workflow.start_child_workflow("C", id="c"),
        workflow.get_external_workflow_handle("o"),
    ]
    await workflow.wait_condition(lambda: _activity().done())
    info = workflow.info()
    return [
        workflow.get_current_details(),
        dict(info.search_attributes),
        dict(workflow.memo()),
        workflow.get_signal_handler("s"),
        workflow.get_query_handler("q"),
        workflow.get_update_handler("u"),
    ]


def started() -> Driver:
    run, _ = doing(main)
    run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run")))
    return run


@pytest.mark.parametrize("action", FORBIDDEN)
def test_a_query_is_refused_what_would_change_the_workflow(action: str) -> None:
    run = started()
    TO_ASK[:] = [FORBIDDEN[action]]
    failure = run.query("ask").failure
    assert failure is not None
    assert failure.message == f"While in read-only function, action attempted: {action}"
    assert result(run.complete_activity(1)) == ["", {}, {}, None, None, None]


def test_a_refused_start_uses_no_number_up() -> None:
    async def two() -> None:
        await workflow.sleep(1)
        first = workflow.start_activity("a", start_to_close_timeout=MINUTE)
        second = workflow.start_local_activity("a", start_to_close_timeout=MINUTE)
        await workflow.get_external_workflow_handle("o").cancel()
        assert first is not second

    run, _ = doing(two)
    for action in ("start activity", "start local activity", "start child workflow"):
        TO_ASK[:] = [FORBIDDEN[action]]
        assert run.query("ask").failure is not None
    found = run.fire_timer(1)
    kinds = ["ScheduleActivity", "ScheduleLocalActivity", "RequestCancelExternal"]
    assert names(found) == kinds
    numbered: Any = found
    assert [each.seq for each in numbered] == [1, 2, 1]


def test_what_a_query_may_ask() -> None:
    run = started()
    TO_ASK[:] = [
        lambda: [
            workflow.info().workflow_id,
            workflow.unsafe.is_read_only(),
            workflow.all_handlers_finished(),
        ]
    ]
    assert run.ask("ask") == ["w", True, True]
    assert names(run.complete_activity(1)) == ["CompleteWorkflow"]


# Past the functions: interceptors that call the rest of the chain by themselves ---------------------

AGAIN: dict[str, Callable[[], Any]] = {}
"""Repeats a call of the run, by the name of the interceptor's method."""


def _noting(method: str) -> Any:
    def call(interceptor: WorkflowOutboundInterceptor, given: Any) -> Any:
        AGAIN[method] = lambda: getattr(interceptor.next, method)(given)
        return AGAIN[method]()

    return call


CHAIN = {
    "start_activity": "start activity",
    "start_local_activity": "start activity",
    "start_child_workflow": "start child workflow",
    "signal_child_workflow": "signal external workflow",
    "signal_external_workflow": "signal external workflow",
}
Notes: Any = type("Notes", (WorkflowOutboundInterceptor,), {each: _noting(each) for each in CHAIN})


class Repeats(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Notes(outbound))


@pytest.mark.parametrize("method", CHAIN)
def test_an_interceptor_is_refused_it_as_well(method: str) -> None:
    async def all_of_them() -> str:
        workflow.start_activity("a", start_to_close_timeout=MINUTE)
        workflow.start_local_activity("a", start_to_close_timeout=MINUTE)
        child = await workflow.start_child_workflow("C", id="c")
        await child.signal("s")
        await workflow.get_external_workflow_handle("o").signal("s")
        await workflow.get_external_workflow_handle("o").signal("s")
        return "done"

    run, _ = doing(all_of_them, interceptor_classes=[Repeats])
    run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run")))
    assert names(run.activate(jobs.ResolveSignalExternal(seq=1, failure=None))) == [
        "SignalExternal"
    ]

    def again() -> None:
        made = AGAIN[method]()
        if hasattr(made, "send"):
            begun(made)

    TO_ASK[:] = [again]
    failure = run.query("ask").failure
    assert failure is not None
    assert failure.message == f"While in read-only function, action attempted: {CHAIN[method]}"
    (signal,) = run.activate(jobs.ResolveSignalExternal(seq=2, failure=None))
    assert isinstance(signal, commands.SignalExternal)
    assert signal.seq == 3, "a refused call uses no number up"
    assert result(run.activate(jobs.ResolveSignalExternal(seq=3, failure=None))) == "done"
