"""Workflow code converts each value in the context of what it belongs to: the run, an activity, another workflow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    EncodingPayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.exceptions import ApplicationError
from perdure.replay import commands, jobs
from perdure.replay.task import RunInfo
from perdure.wire.api import common
from perdure.worker.host import HostOptions
from perdure.worker.host.converters import RunConverters
from tests.unit.worker_host.driver import Driver, failure_of, one

SECOND = timedelta(seconds=1)


def named(context: SerializationContext | None) -> str:
    if isinstance(context, WorkflowSerializationContext):
        return f"{context.namespace} {context.workflow_id}"
    assert isinstance(context, ActivitySerializationContext)
    kind = "local" if context.is_local else "remote"
    return (
        f"{context.namespace} {kind} {context.activity_type} {context.activity_id}"
        f" on {context.activity_task_queue} of {context.workflow_type} {context.workflow_id}"
    )


class Naming(EncodingPayloadConverter, WithSerializationContext):
    """Writes the context instead of the value, and reads it together with what was written."""

    def __init__(self, context: SerializationContext | None = None) -> None:
        self.context = context

    @property
    def encoding(self) -> str:
        return "named"

    def with_context(self, context: SerializationContext) -> Naming:
        return Naming(context)

    def to_payload(self, value: Any) -> common.Payload | None:
        data = f"{value} in {named(self.context)}".encode()
        return common.Payload(metadata={"encoding": b"named"}, data=data)

    def from_payload(self, payload: common.Payload, type_hint: type | None = None) -> Any:
        return f"{payload.data.decode()} in {named(self.context)}"


class NamingPayloads(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(Naming())


class NamingFailures(DefaultFailureConverter, WithSerializationContext):
    context: SerializationContext | None = None

    def with_context(self, context: SerializationContext) -> NamingFailures:
        made = NamingFailures()
        made.context = context
        return made

    def from_failure(self, failure: Any, payload_converter: Any) -> BaseException:
        return ApplicationError(f"{failure.message} in {named(self.context)}")


def raw(text: str) -> common.Payload:
    return common.Payload(metadata={"encoding": b"named"}, data=text.encode())


@workflow.defn
class Steps:
    @workflow.run
    async def run(self, step: str) -> Any:
        kind = step.split(" ", 1)[0]
        try:
            match kind:
                case "activity":
                    return await workflow.execute_activity(
                        "a", "x", activity_id="id", start_to_close_timeout=SECOND
                    )
                case "elsewhere":
                    return await workflow.execute_activity(
                        "a", "x", task_queue="other", start_to_close_timeout=SECOND
                    )
                case "local":
                    return await workflow.execute_local_activity(
                        "a", "x", start_to_close_timeout=SECOND
                    )
                case "child":
                    return await workflow.execute_child_workflow("C", "x", id="c")
                case "signal":
                    await workflow.get_external_workflow_handle("o").signal("s", "x")
                case _:
                    workflow.continue_as_new("x")
        except ApplicationError as error:
            return error.message
        return "not reached"


def begin(step: str) -> tuple[Driver, Any]:
    converter = DataConverter(
        payload_converter_class=NamingPayloads, failure_converter_class=NamingFailures
    )
    run = Driver(Steps, HostOptions(data_converter=converter))
    job = run.init_job()
    found = run.activate(
        jobs.InitializeWorkflow(
            workflow_id="w",
            workflow_type="Steps",
            arguments=[raw(step)],
            randomness_seed=1,
            headers={},
            start_time_ns=job.start_time_ns,
            attributes=job.attributes,
        )
    )
    return run, one(found, commands.Command)


def text(payloads: Any) -> str:
    (payload,) = payloads
    return payload.data.decode()


ACTIVITY = "default {} a {} on {} of Steps w"


@pytest.mark.parametrize(
    ("step", "context"),
    [
        ("activity", ACTIVITY.format("remote", "id", "queue")),
        ("elsewhere", ACTIVITY.format("remote", None, "other")),
        ("local", ACTIVITY.format("local", None, "queue")),
    ],
)
def test_activities(step: str, context: str) -> None:
    run, command = begin(step)
    assert text(command.arguments) == f"x in {context}"
    found = run.activate(jobs.ResolveActivity(seq=1, result=jobs.Completed(raw("r"))))
    ended = one(found, commands.CompleteWorkflow)
    assert text([ended.result]) == f"r in {context} in default w"
    again, _ = begin(step)
    failed = jobs.Failed(failure_of(ApplicationError("no")))
    (completed,) = again.activate(jobs.ResolveActivity(seq=1, result=failed))
    assert text([getattr(completed, "result", None)]) == f"no in {context} in default w"


def test_children() -> None:
    run, command = begin("child")
    assert text(command.input) == "x in default c"
    run.activate(jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("r")))
    found = run.activate(jobs.ResolveChild(seq=1, result=jobs.Completed(raw("r"))))
    assert text([one(found, commands.CompleteWorkflow).result]) == "r in default c in default w"


def test_signals_to_other_workflows() -> None:
    run, command = begin("signal")
    assert text(command.args) == "x in default o"
    failure = failure_of(ApplicationError("no"))
    found = run.activate(jobs.ResolveSignalExternal(seq=1, failure=failure))
    assert text([one(found, commands.CompleteWorkflow).result]) == "no in default o in default w"


def test_the_next_run() -> None:
    _, command = begin("next")
    assert text(command.arguments) == "x in default w"


class Picky(EncodingPayloadConverter):
    """Does not ask for a context, in a composite that could pass one on."""

    @property
    def encoding(self) -> str:
        return "named"

    def to_payload(self, value: Any) -> common.Payload | None:
        return raw(str(value))

    def from_payload(self, payload: common.Payload, type_hint: type | None = None) -> Any:
        if payload.data == b"bad":
            raise LookupError("bad")
        if payload.data == b"refused":
            raise ApplicationError("refused")
        return payload.data.decode()


class PickyPayloads(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(Picky())


def begin_with(converter: DataConverter, step: str, **options: Any) -> Driver:
    run = Driver(Steps, HostOptions(data_converter=converter, **options))
    job = run.init_job()
    run.activate(
        jobs.InitializeWorkflow(
            workflow_id="w",
            workflow_type="Steps",
            arguments=[raw(step)],
            randomness_seed=1,
            headers={},
            start_time_ns=job.start_time_ns,
            attributes=job.attributes,
        )
    )
    return run


NO = jobs.Failed(failure_of(ApplicationError("no")))


def test_only_one_of_the_converters_asks_for_contexts() -> None:
    payload_only = DataConverter(payload_converter_class=NamingPayloads)
    found = begin_with(payload_only, "activity").activate(
        jobs.ResolveActivity(seq=1, result=jobs.Completed(raw("r")))
    )
    assert "r in default remote a id" in text([one(found, commands.CompleteWorkflow).result])
    failure_only = DataConverter(
        payload_converter_class=PickyPayloads, failure_converter_class=NamingFailures
    )
    found = begin_with(failure_only, "activity").activate(jobs.ResolveActivity(seq=1, result=NO))
    assert text([one(found, commands.CompleteWorkflow).result]).startswith("no in default remote a")


def test_without_questions_there_are_no_contexts() -> None:
    plain = DataConverter(payload_converter_class=PickyPayloads)
    run = begin_with(plain, "activity")
    converters = run.host._state.converters
    assert converters.for_workflow("c") is converters.workflow
    assert converters.for_activity("a", None, None, is_local=False) is converters.workflow


def test_results_that_can_not_be_decoded() -> None:
    plain = DataConverter(payload_converter_class=PickyPayloads)
    with pytest.raises(RuntimeError, match="Failed decoding arguments") as caught:
        begin_with(plain, "activity").activate(
            jobs.ResolveActivity(seq=1, result=jobs.Completed(raw("bad")))
        )
    assert isinstance(caught.value.__cause__, LookupError)
    failed = begin_with(plain, "activity", failure_exception_types=[LookupError]).activate(
        jobs.ResolveActivity(seq=1, result=jobs.Completed(raw("bad")))
    )
    assert one(failed, commands.FailWorkflow).failure.message == "bad"
    failed = begin_with(plain, "activity").activate(
        jobs.ResolveActivity(seq=1, result=jobs.Completed(raw("refused")))
    )
    assert one(failed, commands.FailWorkflow).failure.message == "refused"


class Several(PickyPayloads):
    """Makes as many payloads of a value as it says."""

    def to_payloads(self, values: Sequence[Any]) -> list[common.Payload]:
        return [raw(str(value)) for value in values for _ in range(int(value))]


@pytest.mark.parametrize("number", [0, 2])
def test_a_result_is_one_payload(number: int) -> None:
    converter = RunConverters(
        DataConverter(payload_converter_class=Several),
        RunInfo("default", "w", "r", "Steps", "queue"),
        lambda _: False,
    ).workflow
    assert converter.one_payload(1) == raw("1")
    assert converter.payloads([]) == ()
    with pytest.raises(ValueError, match=f"Expected 1 result payload, got {number}"):
        converter.one_payload(number)
