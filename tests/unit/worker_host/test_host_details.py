"""Fine points of the host: what handlers, queries, conditions and classes leave behind, and what they do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue, SearchAttributeKey, VersioningBehavior
from perdure.exceptions import ApplicationError
from perdure.replay import commands, jobs
from perdure.worker.host import HostOptions
from perdure.worker.host.options import GuardPolicy
from perdure.worker.host.state import SINGLE_BATCH
from perdure.workflow._errors import ReadOnlyContextError
from tests.unit.worker_host.doing import TO_RUN, Does, doing, done, forever
from tests.unit.worker_host.driver import START_NS, Driver, failure_of, names, one, payloads, result

# Conditions ---------------------------------------------------------------------------------------


def test_a_condition_whose_waiter_left_is_not_met_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[str] = []
    waiting: list[asyncio.Task[None]] = []

    async def main() -> list[str]:
        waiting.append(asyncio.create_task(workflow.wait_condition(lambda: bool(heard))))
        await workflow.wait_condition(lambda: any(each.done() for each in waiting))
        return [*heard, str(waiting[0].cancelled())]

    def hear() -> None:
        heard.append("signal")
        waiting[0].cancel()

    run, _ = doing(main, hear)
    assert result(run.signal("hear")) == ["signal", "True"]
    assert caplog.records == []


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_cancellation_is_not_lost_to_a_condition_in_the_same_batch(timeout: float | None) -> None:
    heard: list[str] = []

    async def main() -> str:
        await workflow.wait_condition(lambda: bool(heard), timeout=timeout)
        return "met"

    run, _ = doing(main, lambda: heard.append("signal"), flags=frozenset({SINGLE_BATCH}))
    found = run.activate(run.signal_job("hear"), jobs.CancelWorkflow(reason=""))
    assert names(found)[-1] == "CancelWorkflowExecution"


def test_a_cancellation_is_not_lost_to_a_time_out_in_the_same_batch() -> None:
    async def main() -> str:
        try:
            await workflow.wait_condition(lambda: False, timeout=60)
        except TimeoutError:
            return "late"
        raise AssertionError

    run, _ = doing(main, flags=frozenset({SINGLE_BATCH}))
    found = run.activate(jobs.FireTimer(seq=1), jobs.CancelWorkflow(reason=""))
    assert names(found)[-1] == "CancelWorkflowExecution"


@pytest.mark.parametrize("flags", [frozenset[int](), frozenset({SINGLE_BATCH})])
def test_conditions_after_a_cancellation_are_met_as_before(flags: frozenset[int]) -> None:
    heard: list[str] = []

    async def main() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            await workflow.wait_condition(lambda: bool(heard))
            try:
                await workflow.wait_condition(lambda: False, timeout=1)
            except TimeoutError:
                return "cleaned up"
        raise AssertionError

    run, _ = doing(main, lambda: heard.append("signal"), flags=flags)
    assert run.cancel() == []
    assert names(run.signal("hear")) == ["StartTimer"]
    assert result(run.fire_timer(1)) == "cleaned up"


def test_a_cancelled_workflow_task_keeps_its_stack() -> None:
    async def main() -> None:
        raise asyncio.CancelledError("on its own")

    failed = one(doing(main)[1], commands.FailWorkflow).failure
    assert failed.message == "on its own"
    assert "in main" in failed.stack_trace


NOTED: list[str] = []


@workflow.defn
class Refuses:
    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(NOTED))
        return "noted"

    @workflow.update
    def change(self, how: str) -> str:
        return how

    @change.validator
    def _check(self, how: str) -> None:
        if how == "refuse":
            NOTED.append(how)
            raise ValueError(how)

    @workflow.signal
    def nudge(self) -> None: ...


@pytest.mark.parametrize("accepted_before", [0, 1])
def test_a_rejected_update_meets_no_condition_whatever_came_before(accepted_before: int) -> None:
    """It leaves no trace in history, so a replay could not tell when the condition was met."""
    NOTED.clear()
    run = Driver(Refuses)
    run.start()
    for _ in range(accepted_before):
        assert names(run.update("change", "accept")) == ["UpdateResponse"] * 2
    assert names(run.update("change", "refuse")) == ["UpdateResponse"]
    assert result(run.signal("nudge")) == "noted"


# Queries that wait --------------------------------------------------------------------------------

with pytest.warns(DeprecationWarning, match="async"):

    @workflow.defn
    class Waits:
        def __init__(self) -> None:
            self.heard = asyncio.Event()
            self.ended: list[bool] = []

        @workflow.run
        async def run(self) -> list[bool]:
            await workflow.wait_condition(lambda: len(self.ended) == 3)
            return self.ended

        @workflow.signal
        def hear(self) -> None:
            self.heard.set()

        @workflow.query
        async def waits(self) -> str:
            try:
                await self.heard.wait()
            finally:
                self.ended.append(workflow.unsafe.is_read_only())
            return "heard"


def test_queries_that_wait_end_with_their_activation() -> None:
    run = Driver(Waits)
    run.start()
    asked = [
        jobs.QueryWorkflow(query_id=str(n), query_type="waits", arguments=[], headers={})
        for n in range(3)
    ]
    answers = run.activate(*asked)
    told: Any = answers
    assert [each.query_id for each in told] == ["0", "1", "2"]
    for each in told:
        assert "Query handler for 'waits' did not finish" in each.failure.message
    found = run.signal("hear")
    assert names(found) == ["CompleteWorkflow"], "no second answer"
    assert len(result(found)) == 3


@workflow.defn
class Named:
    @workflow.run
    async def run(self) -> None:
        workflow.set_query_handler("a", print)
        workflow.set_update_handler("a", print)
        await forever()

    @workflow.query
    def zz(self) -> None: ...

    @workflow.query
    def aa(self) -> None: ...

    @workflow.update
    def last(self) -> None: ...

    @workflow.update
    def first(self) -> None: ...


def test_what_is_known_is_listed_in_order() -> None:
    run = Driver(Named)
    run.start()
    failure = run.query("other").failure
    assert failure is not None
    assert failure.message == (
        "Query handler for 'other' expected but not found, known queries: [__enhanced_stack_trace"
        " __stack_trace __temporal_workflow_metadata a aa zz]"
    )
    rejected: Any = one(run.update("other"), commands.UpdateResponse).response
    assert rejected.failure.message == (
        "Update handler for 'other' expected but not found, and there is no dynamic handler."
        " known updates: [a first last]"
    )


def test_dynamic_handlers_without_hints_get_plain_values() -> None:
    heard: list[Any] = []

    def hear(*args: Any) -> None:
        heard.append(args)

    async def main() -> list[Any]:
        def dynamic(name, *args):  # pyright: ignore  # noqa: ANN001, ANN002, PGH003
            hear(name, args)

        set_handler: Any = workflow.set_signal_handler
        with pytest.warns(DeprecationWarning, match="Dynamic signals"):
            set_handler(None, dynamic)
        await workflow.wait_condition(lambda: bool(heard))
        return heard

    run, _ = doing(main)
    assert result(run.signal("anything", 1, "two")) == [["anything", [1, "two"]]]


# Classes ------------------------------------------------------------------------------------------


@workflow.defn(dynamic=True, versioning_behavior=VersioningBehavior.PINNED)
class Sparse:
    """Its dynamic configuration says as little as it may."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None:
        raise LookupError(str(len(args)))

    @workflow.dynamic_config
    def config(self) -> workflow.DynamicWorkflowConfig:
        CONFIGURED.append(workflow.unsafe.is_replaying_history_events())
        return workflow.DynamicWorkflowConfig()


CONFIGURED: list[bool] = []


@pytest.mark.parametrize("replaying", [True, False])
def test_what_a_dynamic_configuration_leaves_out_stays(replaying: bool) -> None:
    CONFIGURED.clear()
    run = Driver(Sparse, HostOptions(failure_exception_types=[LookupError]), type_name="Anything")
    found = run.host.activate(
        jobs.Activation(
            run_id="r",
            time_ns=START_NS,
            is_replaying=replaying,
            history_length=1,
            jobs=(run.init_job(1),),
        )
    )
    assert names(list(found.commands)) == ["FailWorkflow"]
    assert found.versioning_behavior == int(VersioningBehavior.PINNED)
    assert [replaying] == CONFIGURED


@workflow.defn(dynamic=True)
class Meddles:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> int:
        return len(args)

    @workflow.dynamic_config
    def config(self) -> workflow.DynamicWorkflowConfig:
        workflow.random()
        return workflow.DynamicWorkflowConfig()


def test_a_dynamic_configuration_must_not_change_the_workflow() -> None:
    with pytest.raises(ReadOnlyContextError):
        Driver(Meddles, type_name="Anything").start()


@workflow.defn
class Pitfalls:
    """Used once: a class is read once per process."""

    @workflow.run
    async def run(self) -> str:
        for _ in {1, 2}:  # noqa: PLC0208 - a pitfall
            pass
        return str(datetime.now())  # noqa: DTZ005 - a pitfall


def test_pitfalls_are_said_once_and_not_of_classes_without_a_guard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unguarded = HostOptions(guard=GuardPolicy.OFF)
    assert names(Driver(Pitfalls, unguarded).start()) == ["CompleteWorkflow"]
    assert caplog.messages == []
    assert names(Driver(Pitfalls).start()) == ["CompleteWorkflow"]
    iterated, local = caplog.messages
    assert iterated.startswith("Workflow Pitfalls may not be deterministic: ")
    assert "a set is iterated" in iterated
    assert "`datetime.now()` is in the time zone of the worker" in local
    caplog.clear()
    assert names(Driver(Pitfalls).start()) == ["CompleteWorkflow"]
    assert caplog.messages == []


# Other workflows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("run_id", [None, "o-run"])
def test_requests_to_other_workflows_are_addressed(run_id: str | None) -> None:
    async def main() -> None:
        other = workflow.get_external_workflow_handle("o", run_id=run_id)

        async def ask() -> None:
            await other.cancel(reason="why")

        asking = asyncio.create_task(ask())
        await other.signal("s", args=[1, "two"])
        await asking

    _, found = doing(main)
    signal, cancel = found
    assert isinstance(cancel, commands.RequestCancelExternal)
    assert (cancel.seq, cancel.namespace, cancel.workflow_id) == (1, "default", "o")
    assert (cancel.run_id, cancel.reason) == (run_id or "", "why")
    assert cancel.site is not None
    assert isinstance(signal, commands.SignalExternal)
    assert (signal.seq, signal.namespace, signal.workflow_id) == (1, "default", "o")
    assert (signal.run_id, signal.signal_name) == (run_id or "", "s")
    assert signal.args == payloads(1, "two")
    assert not signal.child_workflow_only
    assert signal.site is not None


# Earlier runs, random numbers, search attributes ---------------------------------------------------


async def earlier() -> list[Any]:
    failure = workflow.get_last_failure()
    return [
        workflow.has_last_completion_result(),
        workflow.get_last_completion_result(),
        None if failure is None else str(failure),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), [False, None]), ((7,), [True, 7]), ((7, 8), [True, None])],
)
@pytest.mark.parametrize("failed", [False, True])
def test_results_of_earlier_runs(
    values: tuple[Any, ...], expected: list[Any], failed: bool
) -> None:
    again = Driver(Does)
    again.attributes.last_completion_result.payloads.extend(payloads(*values))
    if failed:
        again.attributes.continued_failure.CopyFrom(failure_of(ApplicationError("last time")))
    TO_RUN[:] = [earlier]
    assert result(again.start()) == [*expected, "last time" if failed else None]


def test_a_reset_before_the_first_draw_and_of_several_generators() -> None:
    async def main() -> list[Any]:
        own, other = workflow.new_random("own"), workflow.new_random("other")
        await workflow.sleep(1)
        return [own.random(), other.random(), workflow.random().random()]

    first, _ = doing(main)
    second, _ = doing(main)
    plain = result(first.fire_timer(1))
    reset = second.activate(jobs.UpdateRandomSeed(randomness_seed=5), jobs.FireTimer(seq=1))
    assert all(a != b for a, b in zip(plain, result(reset), strict=True))


def test_untyped_search_attributes_replace_typed_ones() -> None:
    number = SearchAttributeKey.for_int("Int")

    async def main() -> list[Any]:
        seen: list[Any] = []
        for values in ([1], [], [2], [3, 4], [object()]):
            workflow.upsert_search_attributes([number.value_set(9)])
            given: Any = {"Int": values}
            try:
                workflow.upsert_search_attributes(given)
            except (TypeError, ValueError) as error:
                seen.append(type(error).__name__)
            typed = workflow.info().typed_search_attributes
            seen.append({pair.key.name: pair.value for pair in typed})
        return seen

    assert done(main)[:4] == [{"Int": 1}, {}, {"Int": 2}, {"Int": 9}]


def test_an_unsupported_call_without_a_users_line(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.run_in_executor, None, print)
        await asyncio.sleep(0)

    caplog.set_level(logging.DEBUG)
    assert names(doing(main)[1]) == ["CompleteWorkflow"]
    (record,) = (each for each in caplog.records if each.exc_info)
    assert record.exc_info is not None
    assert str(record.exc_info[1]).startswith("loop.run_in_executor() in workflow Does: ")


def test_the_memo_is_converted_once_and_forgets_what_was_never_there() -> None:
    async def main() -> list[Any]:
        workflow.upsert_memo({"never": None})
        before = workflow.memo()
        workflow.upsert_memo({"a": 1, "never": None})
        return [workflow.memo() is before, dict(workflow.memo()), workflow.memo_value("a")]

    assert done(main) == [True, {"a": 1}, 1]
