"""Validators, dynamic handlers, handlers that are set and taken away, and handlers that the end cuts off."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue
from perdure.exceptions import ApplicationError
from perdure.replay import commands, jobs
from perdure.workflow import HandlerUnfinishedPolicy, ReadOnlyContextError
from tests.unit.worker_host.driver import CONVERTER, Driver, names, one, payloads, value


def update_response(found: list[commands.Command]) -> Any:
    response = one(found[-1:], commands.UpdateResponse)
    assert response.protocol_instance_id == "p"
    return response.response


def completed(found: list[commands.Command]) -> Any:
    response = update_response(found)
    assert isinstance(response, commands.UpdateCompleted), response
    return value(response.result)


def rejected(found: list[commands.Command]) -> str:
    response = update_response(found)
    assert isinstance(response, commands.UpdateRejected), response
    return response.failure.message


def raw(given: Sequence[RawValue]) -> list[Any]:
    return [CONVERTER.from_payload(each.payload) for each in given]


@workflow.defn
class Basket:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.calls: list[str] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    def add(self, items: list[str], options: dict[str, int]) -> Any:
        self.calls.append("handler")
        info = workflow.current_update_info()
        assert info is not None
        return [items, options, info.id, info.name]

    @add.validator
    def _spoil(self, items: list[str], options: dict[str, int]) -> None:
        self.calls.append("validator")
        if "bad" in items:
            raise ApplicationError("no bad items", items, type="Bad")
        items.append("of the validator")
        options.clear()

    @workflow.update
    def unchecked(self, text: str) -> str:
        return f"unchecked {text}"

    @workflow.update
    def starts(self) -> None:
        workflow.start_activity("a", start_to_close_timeout=timedelta(seconds=1))

    @starts.validator
    def _starts_too(self) -> None:
        workflow.start_activity("a", start_to_close_timeout=timedelta(seconds=1))

    @workflow.update
    async def waits(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def cancelled(self) -> None:
        raise asyncio.CancelledError("enough")

    @workflow.update(name="typed")
    def wants_a_number(self, number: int) -> int:
        return number

    @workflow.query
    def called(self) -> list[str]:
        return self.calls


def started(cls: type) -> Driver:
    run = Driver(cls)
    run.start()
    return run


def test_the_handler_does_not_see_what_its_validator_did_to_the_arguments() -> None:
    run = started(Basket)
    assert completed(run.update("add", ["a"], {"n": 1})) == [["a"], {"n": 1}, "u", "add"]
    assert run.ask("called") == ["validator", "handler"]


def test_a_validator_that_raises_rejects_with_its_error() -> None:
    run = started(Basket)
    found = run.update("add", ["bad"], {})
    assert names(found) == ["UpdateResponse"]
    failure = update_response(found).failure
    assert failure.message == "no bad items"
    assert failure.application_failure_info.type == "Bad"
    assert run.ask("called") == ["validator"]


def test_on_replay_no_validator_runs() -> None:
    run = started(Basket)
    assert completed(run.update("add", ["bad"], {}, validate=False))[0] == ["bad"]
    assert run.ask("called") == ["handler"]


def test_an_update_without_a_validator() -> None:
    assert completed(started(Basket).update("unchecked", "x")) == "unchecked x"


def test_after_a_validator_commands_are_allowed_again() -> None:
    run = started(Basket)
    with pytest.raises(ReadOnlyContextError):
        run.update("starts")
    again = started(Basket)
    assert rejected(again.update("add", ["bad"], {})) == "no bad items"
    assert names(again.update("starts", validate=False)) == [
        "UpdateResponse",
        "ScheduleActivity",
        "UpdateResponse",
    ]


def test_arguments_that_can_not_be_decoded_reject_the_update() -> None:
    assert rejected(started(Basket).update("typed", "x")) == "Failed decoding arguments"


def test_a_cancellation_in_an_update_is_its_failure() -> None:
    failure = update_response(started(Basket).update("cancelled")).failure
    assert failure.message == "Cancellation raised within update enough"
    assert failure.HasField("canceled_failure_info")


def test_a_run_that_is_closed_answers_no_update() -> None:
    run = started(Basket)
    assert names(run.update("waits")) == ["UpdateResponse"]
    run.host.close()
    Driver.opened.remove(run)


# Dynamic handlers --------------------------------------------------------------------------------


with pytest.warns(DeprecationWarning, match="vararg"):

    @workflow.defn
    class OldDynamic:
        def __init__(self) -> None:
            self.heard: list[Any] = []

        @workflow.run
        async def run(self) -> None:
            await workflow.wait_condition(lambda: False)

        @workflow.signal(dynamic=True)
        def any_signal(self, name: str, *args: Any) -> None:
            self.heard.append([name, *args])

        @workflow.query(dynamic=True)
        def any_query(self, name: str, *args: Any) -> Any:
            return [name, args, self.heard]


@workflow.defn
class Dynamic:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def known(self, text: str) -> None:
        self.heard.append(f"known {text}")

    @workflow.signal(dynamic=True)
    def any_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self.heard.append([name, raw(args)])

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> Any:
        return [name, raw(args), self.heard]

    @workflow.update(dynamic=True)
    def any_update(self, name: str, args: Sequence[RawValue]) -> Any:
        return [name, raw(args)]

    @any_update.validator
    def _check(self, name: str, args: Sequence[RawValue]) -> None:
        if name == "forbidden":
            raise ApplicationError(f"{name} with {len(args)}")


def test_dynamic_handlers_take_what_has_no_handler_of_its_own() -> None:
    run = started(Dynamic)
    run.signal("known", "x")
    run.signal("other", "y", 1)
    assert run.ask("anything", 5) == ["anything", [5], ["known x", ["other", ["y", 1]]]]
    assert completed(run.update("change", 1, "two")) == ["change", [1, "two"]]
    assert rejected(run.update("forbidden", 1)) == "forbidden with 1"


def test_dynamic_handlers_in_the_old_form_get_values() -> None:
    run = started(OldDynamic)
    run.signal("other", "y", 1)
    assert run.ask("anything", 5) == ["anything", [5], [["other", "y", 1]]]


# Handlers that are set at run time ---------------------------------------------------------------


def counted(name: str, args: Sequence[RawValue]) -> str:
    return f"{name} {len(args)}"


@workflow.defn
class Sets:
    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: "set" in self.heard)
        workflow.set_signal_handler("named", self._named)
        workflow.set_query_handler("count", lambda: len(self.heard))
        workflow.set_update_handler("change", self._change, validator=self._validate)
        workflow.set_dynamic_query_handler(counted)
        workflow.set_dynamic_update_handler(counted)
        await workflow.wait_condition(lambda: "unset" in self.heard)
        for kind in ("signal", "query", "update"):
            assert getattr(workflow, f"get_{kind}_handler")("none") is None
        count = workflow.get_query_handler("count")
        assert count is not None
        assert count() == len(self.heard)
        assert workflow.get_dynamic_update_handler() is not None
        assert workflow.get_dynamic_query_handler() is not None
        assert workflow.get_dynamic_signal_handler() is None
        workflow.set_signal_handler("named", None)
        workflow.set_query_handler("count", None)
        workflow.set_update_handler("change", None)
        workflow.set_dynamic_query_handler(None)
        workflow.set_dynamic_update_handler(None)
        await workflow.wait_condition(lambda: False)

    def _named(self, text: str) -> None:
        self.heard.append(f"named {text}")

    def _change(self, text: str) -> str:
        return f"changed {text}"

    def _validate(self, text: str) -> None:
        if not text:
            raise ApplicationError("empty")

    @workflow.signal
    def tell(self, text: str) -> None:
        self.heard.append(text)

    @workflow.query
    def all(self) -> list[str]:
        return self.heard


def test_handlers_are_set_replaced_and_taken_away() -> None:
    run = started(Sets)
    run.signal("tell", "set")
    run.signal("named", "x")
    assert run.ask("count") == 2
    assert run.ask("unknown", 1, 2) == "unknown 2"
    assert completed(run.update("change", "y")) == "changed y"
    assert rejected(run.update("change", "")) == "empty"
    assert completed(run.update("other", 1)) == "other 1"
    run.signal("tell", "unset")
    run.signal("named", "late")
    assert run.ask("all") == ["set", "named x", "unset"]
    for name in ("count", "unknown"):
        failure = run.query(name).failure
        assert failure is not None
        assert "expected but not found" in failure.message
    assert "expected but not found" in rejected(run.update("change", "y"))


# Handlers that the end cuts off ------------------------------------------------------------------


@workflow.defn
class Unfinished:
    def __init__(self) -> None:
        self.is_over = self.is_free = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.is_over)

    @workflow.signal
    def end(self) -> None:
        self.is_over = True

    @workflow.signal
    def free(self) -> None:
        self.is_free = True

    @workflow.signal
    async def slow(self) -> None:
        await workflow.wait_condition(lambda: self.is_free)

    @workflow.signal(unfinished_policy=HandlerUnfinishedPolicy.ABANDON)
    async def slow_abandoned(self) -> None:
        await workflow.wait_condition(lambda: self.is_free)

    @workflow.update
    async def change(self) -> None:
        await workflow.wait_condition(lambda: self.is_free)

    @workflow.update(unfinished_policy=HandlerUnfinishedPolicy.ABANDON)
    async def change_abandoned(self) -> None:
        await workflow.wait_condition(lambda: self.is_free)

    @workflow.query
    def all_finished(self) -> bool:
        return workflow.all_handlers_finished()


def listed(caught: list[warnings.WarningMessage]) -> dict[str, Any]:
    return {
        each.category.__name__: json.loads(
            str(each.message).rpartition("Unfinished ")[2].partition(": ")[2]
        )
        for each in caught
    }


def test_unfinished_handlers_are_named_with_ids_and_counts() -> None:
    run = started(Unfinished)
    assert run.ask("all_finished") is True
    for name in ("slow", "slow", "slow_abandoned"):
        run.signal(name)
    assert run.ask("all_finished") is False
    for name, update_id in (("change", "u1"), ("change_abandoned", "u2")):
        run.activate(
            jobs.DoUpdate(
                id=update_id, protocol_instance_id=update_id, name=name, input=payloads(),
                headers={}, identity="", run_validator=True,
            )
        )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.signal("end")
    assert listed(caught) == {
        "UnfinishedUpdateHandlersWarning": [{"name": "change", "id": "u1"}],
        "UnfinishedSignalHandlersWarning": [{"name": "slow", "count": 2}],
    }


def test_finished_and_abandoned_handlers_are_not_warned_about() -> None:
    run = started(Unfinished)
    run.signal("slow")
    run.update("change")
    run.signal("free")
    assert run.ask("all_finished") is True
    again = started(Unfinished)
    again.signal("slow_abandoned")
    again.update("change_abandoned")
    assert again.ask("all_finished") is False
    for each in (run, again):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert names(each.signal("end")) == ["CompleteWorkflow"]
