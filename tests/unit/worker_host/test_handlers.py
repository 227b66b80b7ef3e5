"""Signals, queries, updates, patches, seeds, memo, search attributes, logs, dynamic workflows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue, SearchAttributeKey
from perdure.exceptions import ApplicationError
from perdure.replay import commands, jobs
from perdure.wire.api import sdk
from perdure.worker.host import HostOptions, WorkflowRegistry
from perdure.worker.interceptors.workflow import (
    ExecuteWorkflowInput,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from perdure.workflow import ReadOnlyContextError
from tests.unit.worker_host.driver import CONVERTER, Driver, names, one, payloads, result, value

SECOND = timedelta(seconds=1)


@workflow.defn
class Mailbox:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        self.seen.append("run")
        await workflow.wait_condition(lambda: "end" in self.seen)
        return self.seen

    @workflow.signal
    async def put(self, text: str) -> None:
        self.seen.append(text)

    @workflow.signal(name="typed")
    def put_number(self, number: int) -> None:
        self.seen.append(str(number + 1))

    @workflow.query
    def contents(self) -> list[str]:
        return self.seen

    @workflow.query
    def changes(self) -> str:
        workflow.random()
        return "changed"

    @workflow.query
    def starts(self) -> str:
        workflow.start_activity("x", start_to_close_timeout=SECOND)
        return "started"

    @workflow.update
    async def add(self, text: str) -> int:
        self.seen.append(text)
        await workflow.sleep(1)
        return len(self.seen)

    @add.validator
    def validate_add(self, text: str) -> None:
        if not text:
            raise ValueError("empty")

    @workflow.update
    def fails(self, kind: str) -> None:
        if kind == "failure":
            raise ApplicationError("refused")
        if kind == "continue":
            workflow.continue_as_new()
        raise ValueError("a bug")

    @workflow.update
    def bad_validator(self) -> None: ...

    @bad_validator.validator
    def validate_badly(self) -> None:
        workflow.uuid4()


def test_signal_handlers_of_the_first_task_run_before_the_main_coroutine() -> None:
    run = Driver(Mailbox)
    run.start(also=(run.signal_job("put", "early"),))
    assert run.ask("contents") == ["early", "run"]
    assert result(run.signal("put", "end")) == ["early", "run", "end"]


def test_a_signal_that_can_not_be_decoded_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    run = Driver(Mailbox)
    run.start()
    assert run.signal("typed", "not a number") == []
    assert "Dropped the signal typed" in caplog.text
    run.signal("typed", 1)
    assert run.ask("contents") == ["run", "2"]


def test_queries() -> None:
    run = Driver(Mailbox)
    run.start()
    assert run.ask("contents") == ["run"]
    failure = run.query("nothing").failure
    assert failure is not None
    assert "Query handler for 'nothing' expected but not found" in failure.message
    assert "contents" in failure.message


@pytest.mark.parametrize("name", ["changes", "starts"])
def test_queries_can_not_change_the_workflow(name: str) -> None:
    run = Driver(Mailbox)
    run.start()
    failure = run.query(name).failure
    assert failure is not None
    assert "While in read-only function" in failure.message


def test_built_in_queries() -> None:
    run = Driver(Mailbox)
    run.start()
    stack = run.ask("__stack_trace")
    assert "in Mailbox.run" in stack
    assert "wait_condition(lambda" in stack
    answer = run.query("__enhanced_stack_trace").response
    assert answer is not None
    trace = CONVERTER.from_payload(answer, sdk.EnhancedStackTrace)
    (user,) = [where for where in trace.stacks[0].locations if not where.internal_code]
    assert user.function_name == "Mailbox.run"
    source = trace.sources[user.file_path]
    assert "wait_condition" in source.content.splitlines()[user.line - source.line_offset - 1]
    answer = run.query("__temporal_workflow_metadata").response
    assert answer is not None
    metadata = CONVERTER.from_payload(answer, sdk.WorkflowMetadata)
    assert [d.name for d in metadata.definition.signal_definitions] == ["put", "typed"]
    assert metadata.definition.type == "Mailbox"


# Updates ------------------------------------------------------------------------------------------


def test_an_update_is_accepted_runs_and_completes() -> None:
    run = Driver(Mailbox)
    run.start()
    found = run.update("add", "x")
    assert names(found) == ["UpdateResponse", "StartTimer"]
    response = found[0]
    assert isinstance(response, commands.UpdateResponse)
    assert response.response == commands.UpdateAccepted()
    done = one(run.fire_timer(1), commands.UpdateResponse)
    assert isinstance(done.response, commands.UpdateCompleted)
    assert value(done.response.result) == 2


def rejected(found: list[commands.Command]) -> str:
    response = one(found[-1:], commands.UpdateResponse).response
    assert isinstance(response, commands.UpdateRejected)
    return response.failure.message


def test_a_validator_rejects_without_a_trace() -> None:
    run = Driver(Mailbox)
    run.start()
    assert rejected(run.update("add", "")) == "empty"
    assert run.ask("contents") == ["run"]
    assert names(run.update("add", "", validate=False)) == ["UpdateResponse", "StartTimer"]


def test_errors_of_update_handlers() -> None:
    run = Driver(Mailbox)
    run.start()
    assert "known updates: [add bad_validator fails]" in rejected(run.update("nothing"))
    assert rejected(run.update("fails", "failure")) == "refused"
    with pytest.raises(ValueError, match="a bug"):
        run.update("fails", "bug")


def test_what_an_update_must_not_do_fails_the_task() -> None:
    run = Driver(Mailbox)
    run.start()
    with pytest.raises(RuntimeError, match="Cannot continue as new from an update handler"):
        run.update("fails", "continue")
    with pytest.raises(ReadOnlyContextError):
        run.update("bad_validator")


@workflow.defn
class Impatient:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: workflow.info().get_current_history_length() > 99)

    @workflow.update
    async def slow(self) -> None:
        await workflow.sleep(5)

    @workflow.signal
    async def end(self) -> None:
        await workflow.sleep(5)

    @workflow.signal
    def stop(self) -> None:
        raise ApplicationError("stopped")


def test_handlers_cut_off_by_the_end_are_warned_about() -> None:
    run = Driver(Impatient)
    run.start()
    run.update("slow")
    run.signal("end")
    with pytest.warns(RuntimeWarning, match="TMPRL1102") as caught:
        assert names(run.signal("stop")) == ["FailWorkflow"]
    kinds = {warning.category for warning in caught}
    assert kinds == {
        workflow.UnfinishedSignalHandlersWarning,
        workflow.UnfinishedUpdateHandlersWarning,
    }


@workflow.defn
class Refreshes:
    """A condition that a rejected update could let through, if it were looked at."""

    def __init__(self) -> None:
        self.looked = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(self.look)
        return self.looked

    def look(self) -> bool:
        self.looked += 1
        return self.looked > 1

    @workflow.signal
    def wake(self) -> None: ...

    @workflow.update
    def never(self) -> None: ...

    @never.validator
    def no(self) -> None:
        raise ValueError("no")


def test_conditions_are_not_looked_at_for_rejected_updates() -> None:
    run = Driver(Refreshes)
    run.start()
    assert names(run.update("never")) == ["UpdateResponse"]
    assert names(run.signal("wake")) == ["CompleteWorkflow"]


# Handlers set at run time -------------------------------------------------------------------------


@workflow.defn
class SetsHandlers:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.sleep(1)
        workflow.set_signal_handler("named", self.named)
        workflow.set_dynamic_signal_handler(self.anything)
        workflow.set_query_handler("length", lambda: len(self.seen))
        assert workflow.get_signal_handler("named") is not None
        assert workflow.get_update_handler("none") is None
        await workflow.wait_condition(workflow.all_handlers_finished)
        await workflow.sleep(1)
        return self.seen

    def named(self, text: str) -> None:
        self.seen.append(f"named {text}")

    def anything(self, name: str, args: Sequence[RawValue]) -> None:
        text = workflow.payload_converter().from_payload(args[0].payload, str)
        self.seen.append(f"{name} {text}")


def test_signals_wait_for_their_handlers_and_are_delivered_in_order() -> None:
    run = Driver(SetsHandlers)
    run.start()
    for name, text in (("named", "1"), ("other", "2"), ("named", "3")):
        run.signal(name, text)
    run.fire_timer(1)
    assert run.ask("length") == 3
    assert result(run.fire_timer(2)) == ["named 1", "named 3", "other 2"]


@workflow.defn(dynamic=True)
class Anything:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> str:
        first = workflow.payload_converter().from_payload(args[0].payload, int)
        return f"{workflow.info().workflow_type} {first}"


def test_a_dynamic_workflow() -> None:
    assert result(Driver(Anything, type_name="Whatever").start(7)) == "Whatever 7"


@workflow.defn
class TakesInit:
    @workflow.init
    def __init__(self, name: str, number: int = 1) -> None:
        self.name = name * number

    @workflow.run
    async def run(self, name: str, number: int = 1) -> str:
        return self.name


def test_init_gets_the_arguments() -> None:
    assert result(Driver(TakesInit).start("ab", 2)) == "abab"


@pytest.mark.parametrize("args", [(), ("a", 1, 2)])
def test_a_wrong_number_of_arguments_fails_the_task(args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=f"started with {len(args)} argument.*takes 1 to 2"):
        Driver(TakesInit).start(*args)


def test_an_unknown_type_is_refused_with_what_is_known() -> None:
    with pytest.raises(ApplicationError, match=r"Nope is not registered.*TakesInit"):
        WorkflowRegistry([TakesInit]).definition_for("Nope")


# Patches and seeds --------------------------------------------------------------------------------


@workflow.defn
class Patched:
    @workflow.run
    async def run(self) -> list[bool]:
        first = workflow.patched("change")
        await workflow.sleep(1)
        workflow.deprecate_patch("old")
        return [first, workflow.patched("change")]


def test_a_patch_is_taken_and_recorded_once() -> None:
    run = Driver(Patched)
    assert names(run.start()) == ["SetPatchMarker", "StartTimer"]
    found = run.fire_timer(1)
    assert names(found) == ["SetPatchMarker", "CompleteWorkflow"]
    assert result(found) == [True, True]


def test_a_patch_without_a_marker_is_not_taken_and_stays_so() -> None:
    run = Driver(Patched)
    run.replaying = True
    assert names(run.start()) == ["StartTimer"]
    run.replaying = False
    assert result(run.fire_timer(1)) == [False, False]


def test_a_patch_with_a_marker_is_taken_on_replay() -> None:
    run = Driver(Patched)
    run.replaying = True
    job = jobs.NotifyHasPatch(patch_id="change")
    assert names(run.activate(job, run.init_job())) == ["SetPatchMarker", "StartTimer"]


@workflow.defn
class Draws:
    @workflow.run
    async def run(self) -> list[Any]:
        own, other = workflow.new_random("own"), workflow.new_random("other")
        before = [str(workflow.uuid4()), own.random(), other.random()]
        await workflow.sleep(1)
        return [*before, str(workflow.uuid4()), own.random(), workflow.random_seed()]


def test_random_numbers_repeat_and_follow_a_reset() -> None:
    first, second, reset = Driver(Draws), Driver(Draws), Driver(Draws)
    for run in (first, second, reset):
        run.start()
    again = result(first.fire_timer(1))
    assert again == result(second.fire_timer(1))
    assert len(set(map(str, again))) == len(again)
    other = result(reset.activate(jobs.UpdateRandomSeed(randomness_seed=5), jobs.FireTimer(seq=1)))
    assert other[:3] == again[:3]
    assert other[3] != again[3], "uuid4 follows the reset"
    assert other[4] != again[4], "so does a generator of the workflow's own"
    assert other[5] == 5


# Memo, search attributes, details -----------------------------------------------------------------

CUSTOMER = SearchAttributeKey.for_keyword("Customer")


@workflow.defn
class Attributes:
    @workflow.run
    async def run(self) -> list[Any]:
        before = [dict(workflow.memo()), workflow.memo_value("n", type_hint=int)]
        workflow.upsert_memo({"n": None, "m": 2})
        workflow.upsert_search_attributes([CUSTOMER.value_set("c-1")])
        workflow.set_current_details("working")
        return [
            *before,
            dict(workflow.memo()),
            workflow.memo_value("n", "gone"),
            workflow.info().typed_search_attributes[CUSTOMER],
            workflow.info().search_attributes["Customer"],
            workflow.get_current_details(),
        ]


def test_memo_and_search_attributes_follow_upserts() -> None:
    run = Driver(Attributes)
    run.attributes.memo.fields["n"].CopyFrom(payloads(1)[0])
    found = run.start()
    assert names(found) == ["ModifyProperties", "UpsertSearchAttributes", "CompleteWorkflow"]
    memo = found[0]
    assert isinstance(memo, commands.ModifyProperties)
    assert {key: value(p) for key, p in sorted(memo.upserted_memo.fields.items())} == {
        "m": 2,
        "n": None,
    }
    assert result(found) == [{"n": 1}, 1, {"m": 2}, "gone", "c-1", ["c-1"], "working"]


# Logs and interceptors ----------------------------------------------------------------------------


@workflow.defn
class Logs:
    @workflow.run
    async def run(self) -> None:
        workflow.logger.info("one of %d", 2)


def test_logs_carry_the_workflow_and_are_silent_on_replay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    replayed = Driver(Logs)
    replayed.replaying = True
    replayed.start()
    assert not caplog.records
    Driver(Logs).start()
    (record,) = caplog.records
    assert record.getMessage().startswith("one of 2 ({")
    assert record.__dict__["temporal_workflow"]["workflow_id"] == "w"


class Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = {**input.headers, "z": payloads(1)[0], "a": payloads(2)[0]}
        return super().start_activity(input)


class Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        return f"<{await super().execute_workflow(input)}>"


@workflow.defn
class Intercepted:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity("a", start_to_close_timeout=SECOND, result_type=str)


def test_interceptors_wrap_both_directions() -> None:
    run = Driver(Intercepted, HostOptions(interceptor_classes=[Inbound]))
    command = one(run.start(), commands.ScheduleActivity)
    assert list(command.headers) == ["a", "z"]
    assert result(run.complete_activity(1, "x")) == "<x>"


def test_outside_a_workflow_the_vocabulary_says_so() -> None:
    assert not workflow.in_workflow()
    with pytest.raises(Exception, match="Not in workflow event loop"):
        workflow.now()
    workflow.logger.info("this is fine")


with pytest.warns(DeprecationWarning, match="async"):

    @workflow.defn
    class AsyncQuery:
        @workflow.run
        async def run(self) -> None:
            await workflow.wait_condition(lambda: False)

        @workflow.query
        async def waits(self) -> None:
            await asyncio.Event().wait()


def test_a_query_that_waits_is_answered_with_an_error() -> None:
    run = Driver(AsyncQuery)
    run.start()
    failure = run.query("waits").failure
    assert failure is not None
    assert "a query cannot wait for anything" in failure.message
    assert run.ask("__stack_trace")
