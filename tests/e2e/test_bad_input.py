"""Bad input against the real thing: the error is one clear line, nothing is lost or half written, other work goes on.

One server and one worker, as processes of their own, take all of it in turn; after each test an ordinary workflow still
runs, and in the end neither process has logged a payload's value. What a server refuses at its start is in
`test_bad_starts.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from perdure.client import Client, RPCError, RPCStatusCode, WorkflowFailureError, WorkflowHandle
from perdure.exceptions import ActivityError, ApplicationError
from perdure.wire.api import history
from tests.e2e.bad_input_worker import MIB, SECRET, TASK_QUEUE, Buy, Order, Sum, malformed
from tests.e2e.stack import PATIENCE_SECONDS, Stack

pytestmark = [pytest.mark.e2e]

TOO_LARGE = "keep large values elsewhere and pass references"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("bad-input"))
    try:
        stack.start_server()
        stack.start_worker("tests.e2e.bad_input_worker:worker")
        yield stack
        for name in ("server", "worker"):
            stack.check_alive(name)
            assert SECRET not in stack.log_text(name), f"the {name} logged a payload's value"
    finally:
        stack.close()


@pytest.fixture
async def client(stack: Stack, request: pytest.FixtureRequest) -> Any:
    async with await Client.connect(stack.address) as client:
        yield client
        # Other work goes on.
        name = request.node.name
        assert await execute(client, "Buy", Order("tea", 3), id=f"after {name}") == 3


async def execute(client: Client, workflow: str, *args: Any, id: str) -> Any:
    return await client.execute_workflow(workflow, args=args, id=id, task_queue=TASK_QUEUE)


async def start(
    client: Client, workflow: str, *args: Any, id: str = ""
) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(
        workflow, args=args, id=id or f"{workflow} {len(args)} {id}", task_queue=TASK_QUEUE
    )


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    assert SECRET not in text
    return text


async def task_failure(
    handle: WorkflowHandle[Any, Any],
) -> history.WorkflowTaskFailedEventAttributes:
    """The first failed workflow task of a run; waits for it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_failed_event_attributes"):
                return event.workflow_task_failed_event_attributes
    raise AssertionError("the run closed without a failed workflow task")


async def fails_its_task(client: Client, stack: Stack, workflow_id: str) -> str:
    """A run whose workflow task fails: it stays open, and `describe` says why, on one line."""
    handle = client.get_workflow_handle(workflow_id)
    await task_failure(handle)
    shown = await asyncio.to_thread(stack.cli, "workflow", "describe", "-w", workflow_id)
    _, found, after = shown.stdout.partition("Its workflow task fails, and is tried again: attempt")
    assert found, shown.stdout
    assert SECRET not in shown.stdout
    reason = after.splitlines()[1].strip()
    await handle.terminate(reason="seen")
    return reason


# ── names ────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unknown_namespace(client: Client, stack: Stack):
    async with await Client.connect(stack.address, namespace="nowhere") as stranger:
        for call in (
            stranger.start_workflow("Buy", id="w", task_queue=TASK_QUEUE),
            stranger.get_workflow_handle("w").describe(),
            stranger.get_workflow_handle("w").signal("add", 1),
        ):
            with pytest.raises(RPCError) as caught:
                await call
            assert caught.value.status is RPCStatusCode.NOT_FOUND
            assert "nowhere" in one_line(caught.value)


async def test_a_worker_in_an_unknown_namespace_says_so(client: Client, stack: Stack):
    done = await asyncio.to_thread(
        stack.try_cli,
        *("worker", "run", "tests.e2e.bad_input_worker:worker", "--namespace", "nowhere"),
    )
    assert done.returncode == 4
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


async def test_an_unknown_workflow_type(client: Client, stack: Stack):
    await start(client, "Sell", id="unknown type")
    reason = await fails_its_task(client, stack, "unknown type")
    assert "Sell" in reason
    assert "Buy" in reason, "it says which there are"


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_class_checks_arguments_before_anything_travels(client: Client):
    wrong: Any = "tea"
    with pytest.raises(TypeError, match=r"takes 1 argument.*order.*but 2 were given") as arity:
        await client.start_workflow(
            Buy.run, args=[Order("tea", 1), 2], id="never", task_queue=TASK_QUEUE
        )
    with pytest.raises(TypeError, match="of type str, but Order is expected") as kind:
        await client.start_workflow(Buy.run, wrong, id="never", task_queue=TASK_QUEUE)
    for caught in (arity, kind):
        one_line(caught.value)
    with pytest.raises(RPCError) as missing:
        await client.get_workflow_handle("never").describe()
    assert missing.value.status is RPCStatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], r"started with 0 argument\(s\), but Buy.run takes 1"),
        ([{"item": "tea", "amount": 1}, 2], r"started with 2 argument\(s\), but Buy.run takes 1"),
        ([SECRET], r"decoding arguments.*Cannot convert to dataclass"),
        ([malformed()], r"decoding arguments.*json/plain could not be converted"),
    ],
    ids=["too few", "too many", "wrong type", "malformed"],
)
async def test_arguments_that_only_the_worker_can_judge(
    client: Client, stack: Stack, args: list[Any], expected: str, request: pytest.FixtureRequest
):
    workflow_id = request.node.name
    await start(client, "Buy", *args, id=workflow_id)
    reason = await fails_its_task(client, stack, workflow_id)
    assert re.search(expected, reason), reason


async def test_a_malformed_payload_for_an_activity_fails_that_activity(client: Client):
    with pytest.raises(WorkflowFailureError) as caught:
        await execute(client, "BuyNonsense", id="nonsense")
    assert isinstance(caught.value.cause, ActivityError)
    cause = caught.value.cause.cause
    assert isinstance(cause, ApplicationError)
    assert "decoding arguments" in one_line(cause)


async def test_malformed_signals_are_dropped_and_the_good_ones_count(client: Client, stack: Stack):
    handle = await start(client, "Sum", id="sum")
    with pytest.raises(TypeError, match="takes 1 argument"):
        await handle.signal(Sum.add)  # pyright: ignore[reportCallIssue, reportArgumentType]
    await handle.signal("add", malformed())
    await handle.signal("add", SECRET)
    await handle.signal("no such signal", 1)
    await handle.signal("add", 5)
    assert await handle.query("so_far") == 5
    await handle.signal("finish")
    assert await handle.result() == 5
    assert "Dropped the signal add" in stack.log_text("worker")


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("size_bytes", "status"),
    [
        (5 * MIB // 2, RPCStatusCode.INVALID_ARGUMENT),
        (5 * MIB, RPCStatusCode.RESOURCE_EXHAUSTED),
        (40 * MIB, RPCStatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["above the limit of a payload", "above the limit of a message", "above all limits"],
)
async def test_requests_that_are_too_large(
    client: Client, size_bytes: int, status: RPCStatusCode, request: pytest.FixtureRequest
):
    handle = await start(client, "Sum", id=request.node.name)
    with pytest.raises(RPCError) as signalled:
        await handle.signal("add", "x" * size_bytes)
    with pytest.raises(RPCError) as started:
        await start(client, "Buy", "x" * size_bytes, id="too large")
    for caught in (signalled, started):
        assert caught.value.status is status
        text = one_line(caught.value)
        assert len(text) < 200
        assert TOO_LARGE in text or size_bytes == 40 * MIB, "beyond all limits the transport speaks"
    with pytest.raises(RPCError) as missing:
        await client.get_workflow_handle("too large").describe()
    assert missing.value.status is RPCStatusCode.NOT_FOUND
    await handle.signal("finish")
    assert await handle.result() == 0
    signals = [
        event
        for event in (await handle.fetch_history()).events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert len(signals) == 1, "what was refused left no trace"


@pytest.mark.parametrize("size_bytes", [5 * MIB // 2, 5 * MIB])
async def test_an_activity_result_that_is_too_large_fails_the_activity(
    client: Client, size_bytes: int
):
    with pytest.raises(WorkflowFailureError) as caught:
        await execute(client, "Swell", "activity result", size_bytes, id=f"result {size_bytes}")
    assert isinstance(caught.value.cause, ActivityError)
    assert caught.value.cause.cause is not None
    text = one_line(caught.value.cause.cause)
    assert "limit" in text or "more than the server takes" in text


@pytest.mark.parametrize("what", ["activity input", "result"])
async def test_a_command_that_is_too_large_ends_its_run(client: Client, what: str):
    """S-7: as on the reference server, a payload above the limit ends the run, not only the task."""
    handle = await start(client, "Swell", what, 5 * MIB // 2, id=f"command {what}")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert caught.value.cause is not None
    assert "exceeds size limit" in one_line(caught.value.cause)


@pytest.mark.parametrize("what", ["activity input", "commands", "result"])
async def test_a_completion_that_is_no_message_ends_its_run(client: Client, what: str):
    """As on the reference server; the worker does not send it again and again."""
    handle = await start(client, "Swell", what, 36 * MIB, id=f"completion {what}")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert caught.value.cause is not None
    reason = one_line(caught.value.cause)
    assert reason.startswith("GrpcMessageTooLarge: ")
    assert "more than the server takes" in reason
