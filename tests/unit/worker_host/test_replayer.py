"""`Replayer`: parameters, several histories, codecs, profiles; and what `workflow.info` reads."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.client.history import WorkflowHistory
from perdure.common import MetricMeter
from perdure.converter import DataConverter, PayloadCodec
from perdure.exceptions import ApplicationError
from perdure.wire.api import common
from perdure.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)
from perdure.worker.host import HostOptions
from perdure.workflow import NondeterminismError
from tests.unit.worker_host import golden
from tests.unit.worker_host.driver import START_NS, Driver, failure_of, payloads, result


async def several(*histories: WorkflowHistory) -> AsyncIterator[WorkflowHistory]:
    for history in histories:
        yield history


@workflow.defn(name="Greets")
class Silent:
    @workflow.run
    async def run(self, name: str) -> None: ...


async def test_several_histories() -> None:
    good, late = golden.load("greets"), golden.load("traces")
    replayer = Replayer(workflows=golden.ALL)
    assert not (await replayer.replay_workflows(several(good, late))).replay_failures
    replayer = Replayer(workflows=[Silent, golden.Traces])
    found = await replayer.replay_workflows(several(good, late), raise_on_replay_failure=False)
    assert list(found.replay_failures) == [good.run_id]
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflows(several(good, late))
    async with replayer.workflow_replay_iterator(several(late, good)) as results:
        failures = [r.replay_failure async for r in results]
    assert failures[0] is None
    assert isinstance(failures[1], NondeterminismError)


async def test_a_history_must_begin_with_a_start() -> None:
    replayer = Replayer(workflows=golden.ALL)
    with pytest.raises(ValueError, match="does not begin with the start"):
        await replayer.replay_workflow(WorkflowHistory("w", []))
    cut = golden.load("greets").events[1:]
    with pytest.raises(ValueError, match="does not begin with the start"):
        await replayer.replay_workflow(WorkflowHistory("w", cut))


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="At least one workflow"):
        Replayer(workflows=[])
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Replayer(workflows=golden.ALL, colour="red")
    Replayer(workflows=golden.ALL, build_id="b", identity="me")


class Backwards(PayloadCodec):
    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [common.Payload(metadata=p.metadata, data=p.data[::-1]) for p in payloads]

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return await self.encode(payloads)


SEEN: list[Any] = []


class Watching(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        SEEN.append((input.args, list(workflow.extern_functions())))
        return await super().execute_workflow(input)


class Watcher(Interceptor):
    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        input.unsafe_extern_functions["extern"] = print
        return Watching


async def test_codecs_and_interceptors_are_applied() -> None:
    history = golden.load("greets")
    encoded = WorkflowHistory.from_json("w", history.to_json())
    first = encoded.events[0].workflow_execution_started_event_attributes.input.payloads[0]
    first.data = first.data[::-1]
    result_event = encoded.events[6].activity_task_completed_event_attributes
    for payload in result_event.result.payloads:
        payload.data = payload.data[::-1]
    converter = dataclasses.replace(DataConverter.default, payload_codec=Backwards())
    replayer = Replayer(workflows=golden.ALL, data_converter=converter, interceptors=[Watcher()])
    SEEN.clear()
    await replayer.replay_workflow(encoded)
    ((args, externs),) = SEEN
    assert args == ["World"]
    assert externs == ["extern"]


# Info ---------------------------------------------------------------------------------------------


@workflow.defn
class Looks:
    @workflow.run
    async def run(self) -> dict[str, Any]:
        info = workflow.info()
        workflow.metric_meter().create_counter("n").add(1)
        failure = workflow.get_last_failure()
        return {
            "attempt": info.attempt,
            "parent": info.parent and info.parent.workflow_id,
            "root": info.root and info.root.run_id,
            "run_timeout": info.run_timeout and info.run_timeout.total_seconds(),
            "execution_timeout": info.execution_timeout,
            "retry": info.retry_policy and info.retry_policy.maximum_attempts,
            "cron": info.cron_schedule,
            "continued": info.continued_run_id,
            "queue": info.task_queue,
            "started": info.start_time == workflow.now(),
            "start": info.workflow_start_time.isoformat(),
            "length": info.get_current_history_length(),
            "last": workflow.get_last_completion_result(int),
            "has_last": workflow.has_last_completion_result(),
            "failure": failure and str(failure),
        }


def test_info_comes_from_the_start_event() -> None:
    run = Driver(Looks)
    started = run.attributes
    started.parent_workflow_execution.workflow_id = "parent"
    started.root_workflow_execution.run_id = "root"
    started.workflow_run_timeout.FromTimedelta(timedelta(seconds=90))
    started.retry_policy.maximum_attempts = 4
    started.cron_schedule = "* * * * *"
    started.continued_execution_run_id = "before"
    started.last_completion_result.payloads.extend(payloads(41))
    started.continued_failure.CopyFrom(failure_of(ApplicationError("earlier")))
    start = datetime.fromtimestamp(START_NS // 10**9, UTC)
    assert result(run.start()) == {
        "attempt": 1,
        "parent": "parent",
        "root": "root",
        "run_timeout": 90,
        "execution_timeout": None,
        "retry": 4,
        "cron": "* * * * *",
        "continued": "before",
        "queue": "queue",
        "started": True,
        "start": start.isoformat(),
        "length": 3,
        "last": 41,
        "has_last": True,
        "failure": "earlier",
    }


class CountingMeter:
    """An object with the methods of a meter that the workflow calls."""

    def __init__(self) -> None:
        self.total = 0

    def with_additional_attributes(self, attributes: Any) -> CountingMeter:
        return self

    def create_counter(self, *_: Any) -> CountingMeter:
        return self

    def add(self, value: int, attributes: Any = None) -> None:
        self.total += value


def test_metrics_are_silent_on_replay() -> None:
    meter = CountingMeter()
    options = HostOptions(metric_meter=cast_meter(meter))
    replayed = Driver(Looks, options)
    replayed.replaying = True
    replayed.start()
    assert meter.total == 0
    Driver(Looks, options).start()
    assert meter.total == 1


def cast_meter(meter: Any) -> MetricMeter:
    return meter


CLEANED: list[str] = []


@workflow.defn(name="Greets")
class Cleans:
    @workflow.run
    async def run(self, name: str) -> None:
        try:
            await workflow.sleep(10)
        finally:
            CLEANED.append(name)


@workflow.defn(name="Greets")
class CleansAndFails(Cleans):
    @workflow.run
    async def run(self, name: str) -> None:
        other = asyncio.create_task(super().run(name))
        await asyncio.sleep(0)
        raise LookupError(str(other.done()))


@pytest.mark.parametrize("kind", [Cleans, CleansAndFails])
async def test_what_is_left_of_a_run_is_torn_down_with_its_replay(kind: type) -> None:
    CLEANED.clear()
    whole = golden.load("greets")
    begun = WorkflowHistory("w", whole.events[:3])
    found = await Replayer(workflows=[kind]).replay_workflow(begun, raise_on_replay_failure=False)
    assert (found.replay_failure is None) is (kind is Cleans)
    assert len(CLEANED) == 1
