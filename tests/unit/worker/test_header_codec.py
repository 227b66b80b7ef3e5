"""Headers pass from interceptor to interceptor as they were written, and through the codec only when that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import (
    Interceptor as ClientInterceptor,
)
from perdure.client import (
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from perdure.common import HeaderCodecBehavior
from perdure.converter import PayloadConverter
from perdure.wire.api import common
from perdure.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    Replayer,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from tests.unit.worker.sealing import SEALED, Sealing, Wire, mark

SHORT = timedelta(seconds=20)
CONVERTER = PayloadConverter.default

seen: list[tuple[str, str]]
"""Who found which header."""


def write(input: Any, what: str) -> Any:
    input.headers = {**input.headers, "note": CONVERTER.to_payload(mark(f"{what} header"))}
    return input


def read(who: str, input: Any) -> Any:
    payload = input.headers["note"]
    is_sealed = payload.metadata["encoding"] == SEALED
    seen.append((who, "sealed" if is_sealed else CONVERTER.from_payload(payload)))
    return input


class Client(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        return await super().start_workflow(write(input, "start"))

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        await super().signal_workflow(write(input, "signal"))

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        return await super().query_workflow(write(input, "query"))

    async def start_workflow_update(
        self, input: StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        return await super().start_workflow_update(write(input, "update"))


class ClientSide(ClientInterceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return Client(next)


class Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        return super().start_activity(write(input, "activity"))

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        return super().start_local_activity(write(input, "local activity"))

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        return await super().start_child_workflow(write(input, "child"))

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        await super().signal_child_workflow(write(input, "child signal"))

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        await super().signal_external_workflow(write(input, "external signal"))

    def continue_as_new(self, input: ContinueAsNewInput) -> Any:
        super().continue_as_new(write(input, "next run"))


class Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        return await super().execute_workflow(read("run", input))

    async def handle_signal(self, input: HandleSignalInput) -> None:
        await super().handle_signal(read("signal", input))

    async def handle_query(self, input: HandleQueryInput) -> Any:
        return await super().handle_query(read("query", input))

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        super().handle_update_validator(read("validator", input))

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        return await super().handle_update_handler(read("update", input))


class Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await super().execute_activity(read("activity", input))


class WorkerSide(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return Activity(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return Inbound


@activity.defn
async def work() -> None:
    return None


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.signals = 0

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.signals == 2)

    @workflow.signal
    def hear(self) -> None:
        self.signals += 1


@workflow.defn
class Parent:
    def __init__(self) -> None:
        self.is_over = False

    @workflow.run
    async def run(self, again: bool) -> None:
        if not again:
            return
        await workflow.wait_condition(lambda: self.is_over)
        await workflow.execute_activity(work, start_to_close_timeout=SHORT)
        await workflow.execute_local_activity(work, start_to_close_timeout=SHORT)
        child = await workflow.start_child_workflow(Child.run, id="child")
        await child.signal(Child.hear)
        await workflow.get_external_workflow_handle_for(Child.run, "child").signal(Child.hear)
        await child
        workflow.continue_as_new(False)

    @workflow.signal
    def end(self) -> None:
        self.is_over = True

    @workflow.query
    def state(self) -> bool:
        return self.is_over

    @workflow.update
    def change(self) -> None:
        return None

    @change.validator
    def _allow(self) -> None:
        return None


async def play(wire: Wire) -> None:
    client = wire.client
    async with Worker(
        client, task_queue="q", workflows=[Parent, Child], activities=[work],
        interceptors=[WorkerSide()], max_cached_workflows=100,
    ):  # fmt: skip
        handle = await client.start_workflow(Parent.run, True, id="parent", task_queue="q")
        await handle.query(Parent.state)
        await handle.execute_update(Parent.change)
        await handle.signal(Parent.end)
        async with asyncio.timeout(60):
            await handle.result()


FOUND = [
    ("run", "start"), ("query", "query"), ("validator", "update"), ("update", "update"), ("signal", "signal"),
    ("activity", "activity"), ("activity", "local activity"), ("run", "child"), ("signal", "child signal"),
    ("signal", "external signal"), ("run", "next run"),
]  # fmt: skip


@pytest.mark.parametrize("behavior", [HeaderCodecBehavior.NO_CODEC, HeaderCodecBehavior.CODEC])
async def test_headers_arrive_as_they_were_written(behavior: HeaderCodecBehavior) -> None:
    global seen  # noqa: PLW0603 - interceptor classes are made by the worker
    seen = []
    wire = await Wire.open(interceptors=[ClientSide()], header_codec_behavior=behavior)
    async with wire.client:
        await play(wire)
        assert seen == [(who, mark(f"{what} header")) for who, what in FOUND]
        history = await wire.client.get_workflow_handle("child").fetch_history()
    if behavior is HeaderCodecBehavior.CODEC:
        assert wire.in_clear() == set()
        assert wire.carried("StartWorkflowExecution", "start header")
        assert wire.carried("RespondWorkflowTaskCompleted", "activity header")
    seen = []
    replayer = Replayer(
        workflows=[Child],
        interceptors=[WorkerSide()],
        data_converter=wire.client.data_converter,
        header_codec_behavior=behavior,
    )
    await replayer.replay_workflow(history)
    assert seen[0] == ("run", mark("child header"))


class Lenient(Sealing):
    """Leaves alone what was never sealed."""

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [
            (await super(Lenient, self).decode([each]))[0]
            if each.metadata["encoding"] == SEALED
            else each
            for each in payloads
        ]


async def test_the_codec_may_be_asked_for_headers_of_workflows_alone() -> None:
    global seen  # noqa: PLW0603 - see above
    seen = []
    wire = await Wire.open(
        codec=Lenient(),
        interceptors=[ClientSide()],
        header_codec_behavior=HeaderCodecBehavior.WORKFLOW_ONLY_CODEC,
    )
    async with wire.client:
        await play(wire)
    assert wire.in_clear() == {
        "StartWorkflowExecution",
        "QueryWorkflow",
        "UpdateWorkflowExecution",
        "SignalWorkflowExecution",
    }
    remote, *others = [text for who, text in seen if who == "activity"]
    assert (remote, others) == ("sealed", [mark("local activity header")])
    assert [each for each in seen if each[0] != "activity"] == [
        (who, mark(f"{what} header")) for who, what in FOUND if who != "activity"
    ]
