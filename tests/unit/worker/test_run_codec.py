"""A codec that asks for contexts gets the same one on both ways of a payload: a key for each workflow works."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from perdure import activity, workflow
from perdure.client import Client
from perdure.converter import (
    ActivitySerializationContext,
    DataConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.exceptions import ApplicationError, FailureError
from perdure.wire.api import common
from perdure.worker import Replayer, Worker

SHORT = timedelta(seconds=10)


class Locked(PayloadCodec, WithSerializationContext):
    """Locks each payload with the name of what it belongs to, and opens it with no other."""

    def __init__(self, key: str = "nobody") -> None:
        self.key = key.encode()

    def with_context(self, context: SerializationContext) -> Self:
        if isinstance(context, ActivitySerializationContext):
            where = "local" if context.is_local else "remote"
            return type(self)(f"{where} {context.activity_type} of {context.workflow_id}")
        assert isinstance(context, WorkflowSerializationContext)
        return type(self)(context.workflow_id)

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [
            common.Payload(metadata={"key": self.key}, data=each.SerializeToString())
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        for each in payloads:
            assert each.metadata["key"] == self.key, (each.metadata["key"], self.key)
        return [common.Payload.FromString(each.data) for each in payloads]


@activity.defn
async def double(number: int) -> int:
    activity.heartbeat("half way")
    return 2 * number


@activity.defn
async def fail(number: int) -> int:
    raise ApplicationError("no", number, non_retryable=True)


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.heard = 0

    @workflow.run
    async def run(self, number: int) -> int:
        await workflow.wait_condition(lambda: self.heard > 0)
        return number + self.heard

    @workflow.signal
    def hear(self, number: int) -> None:
        self.heard = number


@workflow.defn
class Parent:
    def __init__(self) -> None:
        self.told = 0

    @workflow.run
    async def run(self, number: int) -> list[int]:
        child = await workflow.start_child_workflow(Child.run, number, id="child")
        await child.signal(Child.hear, 5)
        results = [await workflow.execute_activity(double, number, start_to_close_timeout=SHORT)]
        results.append(
            await workflow.execute_local_activity(double, number, start_to_close_timeout=SHORT)
        )
        for execute in (workflow.execute_activity, workflow.execute_local_activity):
            try:
                await execute(fail, 7, start_to_close_timeout=SHORT)
            except FailureError as error:  # of local ones without a frame, as in the official SDKs
                cause = error.__cause__ or error
                assert isinstance(cause, ApplicationError)
                results.append(cause.details[0])
        results.append(await child)
        await workflow.wait_condition(lambda: self.told > 0)
        return [*results, self.told]

    @workflow.update
    async def tell(self, number: int) -> int:
        self.told = number
        return number + 1

    @workflow.query
    def ask(self, number: int) -> int:
        return number + self.told


async def play(client: Client, *, cached: int) -> None:
    async with Worker(
        client,
        task_queue="q",
        workflows=[Parent, Child],
        activities=[double, fail],
        max_cached_workflows=cached,
    ):
        handle = await client.start_workflow(Parent.run, 3, id="parent", task_queue="q")
        assert await handle.query(Parent.ask, 1) == 1
        assert await handle.execute_update(Parent.tell, 9) == 10
        async with asyncio.timeout(20):
            assert await handle.result() == [6, 6, 7, 7, 8, 9]
        assert await handle.query(Parent.ask, 1) == 10
    history = await handle.fetch_history()
    replayer = Replayer(workflows=[Parent], data_converter=client.data_converter)
    await replayer.replay_workflow(history)


async def test_every_payload_is_opened_with_the_key_that_locked_it():
    for cached in (100, 0):
        converter = dataclasses.replace(DataConverter.default, payload_codec=Locked())
        async with await Client.connect("memory:", data_converter=converter) as client:
            await play(client, cached=cached)
