"""What workflow code may ask and do beside the common things: its task, upserts, other workflows, errors."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from perdure import workflow
from perdure.common import SearchAttributeKey
from perdure.exceptions import (
    ApplicationError,
    InvalidVersioningOverrideError,
    WorkflowAlreadyStartedError,
)
from perdure.exceptions import CancelledError as Cancelled
from perdure.replay import commands, jobs
from perdure.wire.api import failure
from perdure.worker.host import HostOptions
from perdure.worker.host.asyncio_compat import OrderedFutures
from perdure.worker.host.jobs import UnknownOperationError
from tests.unit.worker_host.driver import (
    START_NS,
    Driver,
    failure_of,
    names,
    one,
    payloads,
    result,
    value,
)


@workflow.defn
class Does:
    """Runs what a test gives it."""

    @workflow.run
    async def run(self) -> Any:
        return await todo()

    @workflow.update
    async def change(self) -> None:
        raise ApplicationError("no", object())

    @workflow.signal
    async def hear(self) -> None:
        raise ApplicationError("no", object())

    @workflow.query
    def task(self) -> Any:
        info = workflow.info()
        version = info.get_current_deployment_version()
        return [
            info.get_current_history_size(),
            info.is_continue_as_new_suggested(),
            info.is_target_worker_deployment_version_changed(),
            [version.deployment_name, version.build_id] if version else None,
            info.get_current_build_id(),
            workflow.unsafe.is_replaying(),
            workflow.unsafe.is_read_only(),
        ]


todo: Callable[[], Any]


def doing(given: Callable[[], Any], **options: Any) -> tuple[Driver, list[commands.Command]]:
    global todo  # noqa: PLW0603 - workflows take no functions
    todo = given
    run = Driver(Does, HostOptions(**options))
    return run, run.start()


def done(given: Callable[[], Any], **options: Any) -> Any:
    return result(doing(given, **options)[1])


async def forever() -> None:
    await workflow.wait_condition(lambda: False)


@pytest.mark.parametrize("version", [None, jobs.DeploymentVersion("d", "b")])
def test_what_the_task_says(version: jobs.DeploymentVersion | None) -> None:
    run, _ = doing(forever)
    (answer,) = run.host.activate(
        jobs.Activation(
            run_id="r",
            time_ns=START_NS,
            is_replaying=True,
            history_length=3,
            history_size_bytes=77,
            continue_as_new_suggested=True,
            target_worker_deployment_version_changed=True,
            deployment_version=version,
            jobs=(jobs.QueryWorkflow(query_id="q", query_type="task", arguments=[], headers={}),),
        )
    ).commands
    assert isinstance(answer, commands.QueryResult)
    expected: list[Any] = [["d", "b"], "b"] if version else [None, ""]
    assert value(answer.response) == [77, True, True, *expected, True, True]
    assert run.ask("task")[:3] == [0, False, False]
    assert run.ask("task")[-2:] == [False, True]


def test_identifiers_come_from_the_run() -> None:
    async def both() -> list[str]:
        return [str(workflow.uuid4()), str(workflow.uuid7()), str(workflow.uuid7())]

    first, second = done(both), done(both)
    assert first == second
    four, seven, other = (uuid.UUID(each) for each in first)
    assert (four.version, seven.version, other.version) == (4, 7, 7)
    assert seven.variant == uuid.RFC_4122
    assert seven != other
    assert seven.int >> 80 == (START_NS + 1_000_000_000) // 1_000_000


def _double(number: int) -> int:
    return 2 * number


def test_extern_functions_and_the_instance_and_failure_types() -> None:
    async def ask() -> list[Any]:
        assert isinstance(workflow.instance(), Does)
        errors = (ValueError(), ApplicationError("x"), TimeoutError(), KeyError())
        return [
            workflow.extern_functions()["double"](4),
            [workflow.is_failure_exception(each) for each in errors],
        ]

    found = done(ask, extern_functions={"double": _double}, failure_exception_types=(ValueError,))
    assert found == [8, [True, True, True, False]]


def test_memo() -> None:
    async def change() -> list[Any]:
        with pytest.raises(KeyError, match="Memo does not have a value for key a"):
            workflow.memo_value("a")
        before = dict(workflow.memo())
        workflow.upsert_memo({})
        workflow.upsert_memo({"a": 1, "b": [2]})
        middle = dict(workflow.memo())
        workflow.upsert_memo({"a": None, "b": 3})
        return [
            before,
            middle,
            dict(workflow.memo()),
            workflow.memo_value("a", "default"),
            workflow.memo_value("b", type_hint=float),
        ]

    _, found = doing(change)
    assert names(found) == ["ModifyProperties", "ModifyProperties", "CompleteWorkflow"]
    assert result(found) == [{}, {"a": 1, "b": [2]}, {"b": 3}, "default", 3.0]
    second: Any = found[1]
    assert set(second.upserted_memo.fields) == {"a", "b"}


def test_search_attributes_in_both_forms() -> None:
    number = SearchAttributeKey.for_int("Int")
    words = SearchAttributeKey.for_keyword_list("Words")

    async def change() -> list[Any]:
        workflow.upsert_search_attributes([number.value_set(5), words.value_set(["a", "b"])])
        seen = [_attributes()]
        workflow.upsert_search_attributes([number.value_unset()])
        seen.append(_attributes())
        workflow.upsert_search_attributes(
            {"Int": [6], "Words": ["c", "d"], "Text": ["one"], "Gone": []}
        )
        return [*seen, _attributes()]

    _, found = doing(change)
    assert result(found) == [
        [{"Int": [5], "Words": ["a", "b"]}, {"Int": 5, "Words": ["a", "b"]}],
        [{"Int": [], "Words": ["a", "b"]}, {"Words": ["a", "b"]}],
        [
            {"Int": [6], "Words": ["c", "d"], "Text": ["one"], "Gone": []},
            {"Int": 6, "Words": ["c", "d"], "Text": "one"},
        ],
    ]
    third: Any = found[2]
    assert set(third.search_attributes.indexed_fields) == {"Int", "Words", "Text", "Gone"}


def _attributes() -> list[Any]:
    info = workflow.info()
    typed = {pair.key.name: pair.value for pair in info.typed_search_attributes}
    return [dict(info.search_attributes), typed]


# Other workflows ---------------------------------------------------------------------------------


async def start_child() -> str:
    child = await workflow.start_child_workflow("C", id="c")
    assert (child.id, child.first_execution_run_id) == ("c", "child-run")
    return str(await child)


CANCELED = failure.Failure(message="Cancelled", canceled_failure_info=failure.CanceledFailureInfo())


@pytest.mark.parametrize(
    ("outcome", "kind", "words"),
    [
        (jobs.ChildStartFailed("c", "C", 1), WorkflowAlreadyStartedError, "already started"),
        (jobs.ChildStartFailed("c", "C", 3), InvalidVersioningOverrideError, ""),
        (jobs.ChildStartFailed("c", "C", 99), RuntimeError, "Unknown child start fail cause: 99"),
        (jobs.Cancelled(CANCELED), Cancelled, "Cancelled"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_children_that_could_not_start(outcome: Any, kind: type[Exception], words: str) -> None:
    async def tell() -> str:
        with pytest.raises(kind) as caught:
            await start_child()
        return str(caught.value)

    run, _ = doing(tell)
    assert words in result(run.activate(jobs.ResolveChildStart(seq=1, outcome=outcome)))
    with pytest.raises(UnknownOperationError):
        run.activate(jobs.ResolveChildStart(seq=1, outcome=outcome))


def test_a_child_that_is_cancelled_with_a_reason() -> None:
    async def cancel() -> None:
        child = await workflow.start_child_workflow("C", id="c")
        child.cancel("no longer wanted")
        await child

    run, _ = doing(cancel)
    found = run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run")))
    asked = one(found, commands.CancelChildWorkflow)
    assert (asked.seq, asked.reason) == (1, "no longer wanted")


def test_results_of_children() -> None:
    run, _ = doing(start_child)
    run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run")))
    end = jobs.ResolveChild(seq=1, result=jobs.Completed(payloads("done")[0]))
    assert result(run.activate(end)) == "done"


def test_a_signal_whose_task_is_cancelled() -> None:
    async def signal() -> str:
        other = workflow.get_external_workflow_handle("o", run_id="run")
        assert (other.id, other.run_id) == ("o", "run")
        try:
            async with asyncio.timeout(5):
                await other.signal("s")
        except ApplicationError as error:
            return error.message
        return "not reached"

    run, found = doing(signal)
    assert names(found) == ["StartTimer", "SignalExternal"]
    assert one(run.fire_timer(1), commands.CancelSignalExternal).seq == 1
    refused = failure_of(ApplicationError("too late"))
    assert result(run.activate(jobs.ResolveSignalExternal(seq=1, failure=refused))) == "too late"


def test_a_cancel_request_that_is_not_waited_for_any_more() -> None:
    async def request() -> str:
        try:
            async with asyncio.timeout(5):
                await workflow.get_external_workflow_handle("o").cancel(reason="why")
        except TimeoutError:
            await workflow.sleep(1)
        return "went on"

    run, found = doing(request)
    (asked,) = (each for each in found if isinstance(each, commands.RequestCancelExternal))
    assert (asked.workflow_id, asked.reason) == ("o", "why")
    run.fire_timer(1)
    assert run.activate(jobs.ResolveCancelExternal(seq=1, failure=None)) == []
    assert result(run.fire_timer(2)) == "went on"


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (jobs.ResolveActivity(seq=9, result=jobs.Completed(None)), "activity handle"),
        (jobs.ResolveChild(seq=9, result=jobs.Completed(None)), "child workflow handle"),
        (jobs.ResolveSignalExternal(seq=9, failure=None), "pending external signal"),
        (jobs.ResolveCancelExternal(seq=9, failure=None), "pending external cancel"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_jobs_for_what_was_never_started(job: Any, words: str) -> None:
    run, _ = doing(forever)
    with pytest.raises(UnknownOperationError, match=f"Failed finding {words} for sequence 9"):
        run.activate(job)


# What is refused ---------------------------------------------------------------------------------


async def _wait_for_nothing() -> None:
    await workflow.wait([])


async def _wait_for_coroutines() -> None:
    coroutine = asyncio.sleep(0)
    try:
        await workflow.wait([coroutine])  # pyright: ignore[reportArgumentType, reportCallIssue]
    finally:
        coroutine.close()


async def _unknown_return_when() -> None:
    task = asyncio.ensure_future(workflow.sleep(1))
    await workflow.wait([task], return_when="SOON")


async def _activity_that_is_none() -> None:
    workflow.start_activity(5)  # pyright: ignore[reportArgumentType, reportCallIssue]


async def _child_that_is_none() -> None:
    await workflow.start_child_workflow(5, id="x")  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.mark.parametrize(
    ("mistake", "kind", "words"),
    [
        (_wait_for_nothing, ValueError, "must not be empty"),
        (_wait_for_coroutines, TypeError, "Passing coroutines is forbidden"),
        (_unknown_return_when, ValueError, "Invalid return_when value: SOON"),
        (_activity_that_is_none, TypeError, "Activity must be a string or callable"),
        (_child_that_is_none, TypeError, "Workflow must be a string or callable"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_mistakes_are_named(mistake: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        doing(mistake)


def test_an_error_that_can_not_be_converted_fails_the_task() -> None:
    async def odd() -> None:
        raise ApplicationError("no", object())

    with pytest.raises(ValueError, match="Failed converting workflow exception"):
        doing(odd)
    with pytest.raises(ValueError, match="Failed converting workflow exception"):
        doing(forever)[0].signal("hear")
    with pytest.raises(TypeError, match="not JSON serializable"):
        doing(forever)[0].update("change")


def test_sets_of_futures_keep_their_order() -> None:
    futures = OrderedFutures("cab")
    futures.add("d")
    futures.discard("a")
    futures.discard("never there")
    assert list(futures) == ["c", "b", "d"]
    assert "b" in futures
    assert "a" not in futures
    assert len(futures) == 3
    assert list(futures.union(["x", "b"])) == ["c", "b", "d", "x"]
    assert list(futures.difference(["b", "x"])) == ["c", "d"]
    assert list(futures.copy()) == list(futures)
    assert futures.pop() == "c"
    futures.update(["y"], ["z"])
    assert list(futures) == ["b", "d", "y", "z"]
    while futures:
        futures.pop()
    with pytest.raises(KeyError, match="empty set"):
        futures.pop()
