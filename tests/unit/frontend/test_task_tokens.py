"""Tokens are good for the namespace and the purpose they were issued for; those of earlier versions while they last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import new_id
from perdure.history.draft.tokens import (
    ActivityTaskToken,
    QueryToken,
    TaskToken,
    WorkflowTaskToken,
    decode_token,
    encode_token,
    entity_of,
)
from perdure.server.common import seals
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.node.node import open_node
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.wire.api import enums
from perdure.wire.errors import InvalidArgument, NotFound, RpcError
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import (
    Caller,
    GatedExecutor,
    open_caller,
    schedule_activity,
)

FOREIGN = "Operation requested with a token from a different namespace"
FORGED = "was not issued by this server"
WORKFLOW_TASKS = ("RespondWorkflowTaskCompleted", "RespondWorkflowTaskFailed")
ACTIVITY_TASKS = (
    "RespondActivityTaskCompleted",
    "RespondActivityTaskFailed",
    "RespondActivityTaskCanceled",
    "RecordActivityTaskHeartbeat",
)
QUERY_TASKS = ("RespondQueryTaskCompleted",)
ALL = (*WORKFLOW_TASKS, *ACTIVITY_TASKS, *QUERY_TASKS)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    caller = await open_caller()
    await caller.call("RegisterNamespace", namespace="other")
    yield caller
    await caller.node.close()


async def workflow_task(caller: Caller) -> bytes:
    await caller.start()
    return (await caller.poll()).task_token


async def activity_task(caller: Caller) -> bytes:
    await caller.start()
    await caller.complete(await caller.poll(), schedule_activity())
    return (await polled_activity(caller)).task_token


async def polled_activity(caller: Caller) -> Any:
    return await caller.call("PollActivityTaskQueue", task_queue={"name": "queue"}, identity="w")


async def query_task(caller: Caller) -> bytes:
    await caller.start()
    await caller.complete(await caller.poll())
    asking = asyncio.ensure_future(
        caller.call("QueryWorkflow", execution={"workflow_id": "w"}, query={"query_type": "state"})
    )
    token = (await caller.poll()).task_token
    asking.cancel()
    await asyncio.wait([asking])
    return token


TASKS: dict[str, Callable[[Caller], Awaitable[bytes]]] = {
    **dict.fromkeys(WORKFLOW_TASKS, workflow_task),
    **dict.fromkeys(ACTIVITY_TASKS, activity_task),
    **dict.fromkeys(QUERY_TASKS, query_task),
}
KINDS: dict[str, type[WorkflowTaskToken | ActivityTaskToken | QueryToken]] = {
    **dict.fromkeys(WORKFLOW_TASKS, WorkflowTaskToken),
    **dict.fromkeys(ACTIVITY_TASKS, ActivityTaskToken),
    **dict.fromkeys(QUERY_TASKS, QueryToken),
}


async def respond(caller: Caller, name: str, token: bytes, namespace: str = "default") -> Any:
    fields: dict[str, Any] = {"completed_type": 1} if name in QUERY_TASKS else {}
    return await caller.call(name, namespace=namespace, task_token=token, **fields)


async def is_taken(caller: Caller, name: str, token: bytes, namespace: str = "default") -> bool:
    """Whether the token is believed, though the call may be refused for another reason."""
    try:
        await respond(caller, name, token, namespace)
    except InvalidArgument as error:
        return "canceled" in error.message or "CompletedType" in error.message
    except NotFound as error:
        return "Query task not found" in error.message
    return True


def namespace_of(caller: Caller, name: str = "default") -> NamespaceFact:
    found = caller.node.engine.namespaces.find(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ALL)
async def test_rule_41_a_token_is_refused_in_another_namespace(caller: Caller, name: str):
    token = await TASKS[name](caller)
    with pytest.raises(InvalidArgument, match=FOREIGN):
        await respond(caller, name, token, "other")
    with pytest.raises(NotFound, match="Namespace no-such is not found"):
        await respond(caller, name, token, "no-such")
    assert await is_taken(caller, name, token), "nothing has happened to the task"


@pytest.mark.parametrize("name", ALL)
async def test_a_request_without_a_namespace_means_that_of_its_token(caller: Caller, name: str):
    assert await is_taken(caller, name, await TASKS[name](caller), "")


@pytest.mark.parametrize("name", ALL)
async def test_rule_41_a_token_that_was_made_up_or_changed_is_refused(caller: Caller, name: str):
    token = await TASKS[name](caller)
    own, other = namespace_of(caller), namespace_of(caller, "other")
    content = decode_token(seals.body_of(token), KINDS[name])
    moved = encode_token(msgspec.structs.replace(content, namespace_id=other.namespace_id))
    made_up = [
        seals.body_of(token),
        token[:1] + bytes([token[1] ^ 1]) + token[2:],
        seals.seal(seals.body_of(token), other.token_key, seals.TASK),
        seals.seal(seals.body_of(token), own.token_key, seals.PAGE),
        seals.seal(seals.body_of(token), own.token_key, seals.TASK, "w"),
        encode_token(msgspec.structs.replace(content, namespace_id="unknown")),
        b"garbage",
        token[:10],
    ]
    for forged in made_up:
        for namespace in ("default", ""):
            if namespace and b"unknown" in forged:
                continue
            with pytest.raises(InvalidArgument, match=FORGED):
                await respond(caller, name, forged, namespace)
    with pytest.raises(InvalidArgument, match=FORGED):
        await respond(caller, name, seals.seal(moved, own.token_key, seals.TASK), "other")
    with pytest.raises(InvalidArgument, match="Task token not set on request"):
        await respond(caller, name, b"")
    assert await is_taken(caller, name, token)


async def test_no_node_that_goes_on_forgets_the_keys_of_its_namespaces():
    connection = connect_memory(4)
    first = await open_caller(connection)
    token = await workflow_task(first)
    key = namespace_of(first).token_key
    await first.node.close()
    second = await open_caller(connection)
    assert namespace_of(second).token_key == key
    assert namespace_of(second).unsealed_until_ns == 0, "it never had tokens without a seal"
    assert await is_taken(second, "RespondWorkflowTaskCompleted", token)
    await second.node.close()


def test_a_namespace_that_is_printed_does_not_tell_its_key():
    fact = NamespaceFact(namespace_id="n", name="x", token_key=b"secret")
    assert "secret" not in repr(fact)
    assert "secret" not in str([fact])


# Tokens of earlier versions.


class Upgraded:
    """A node over a database of a version without seals: its tokens are the bodies of today's."""

    def __init__(self) -> None:
        self.connection = connect_memory(4)

    async def before(self) -> Caller:
        return await open_caller(self.connection)

    async def after(self, caller: Caller) -> Caller:
        fact = msgspec.structs.replace(namespace_of(caller), token_key=b"")
        await caller.node.engine.namespaces.write(fact)
        await caller.node.close()
        store = open_memory(executor=GatedExecutor(), connection=self.connection)
        node = await open_node(store, clock=SystemClock(), new_id=new_id)
        upgraded = Caller(node, caller.disk)
        assert namespace_of(upgraded).token_key not in (b"", namespace_of(caller).token_key)
        return upgraded


@pytest.mark.parametrize("name", [*WORKFLOW_TASKS, *ACTIVITY_TASKS])
async def test_tasks_that_were_started_before_an_upgrade_keep_their_tokens(name: str):
    upgrade = Upgraded()
    before = await upgrade.before()
    token = seals.body_of(await TASKS[name](before))
    after = await upgrade.after(before)
    await after.call("RegisterNamespace", namespace="other")
    with pytest.raises(InvalidArgument, match=FOREIGN):
        await respond(after, name, token, "other")
    assert await is_taken(after, name, token)
    await after.node.close()


@pytest.mark.parametrize("name", ALL)
async def test_tasks_that_were_started_after_an_upgrade_need_a_seal(name: str):
    upgrade = Upgraded()
    after = await upgrade.after(await upgrade.before())
    token = await TASKS[name](after)
    with pytest.raises(InvalidArgument, match=FORGED):
        await respond(after, name, seals.body_of(token))
    forged = seals.seal(seals.body_of(token), b"k" * 32, seals.TASK)
    with pytest.raises(InvalidArgument, match=FORGED):
        await respond(after, name, forged)
    assert await is_taken(after, name, token)
    await after.node.close()


async def test_an_early_start_in_a_token_does_not_make_its_attempt_early():
    upgrade = Upgraded()
    after = await upgrade.after(await upgrade.before())
    token = await workflow_task(after)
    content = decode_token(seals.body_of(token), WorkflowTaskToken)
    early = encode_token(msgspec.structs.replace(content, started_ns=1))
    with pytest.raises(NotFound):
        await respond(after, "RespondWorkflowTaskCompleted", early)
    await after.node.close()


async def test_a_repeated_answer_needs_its_token_as_the_first_one_did(caller: Caller):
    token = await activity_task(caller)
    await respond(caller, "RespondActivityTaskCompleted", token)
    await respond(caller, "RespondActivityTaskCompleted", token)
    with pytest.raises(RpcError):
        await respond(caller, "RespondActivityTaskCompleted", token, "other")


# Pages.


async def test_rule_25_a_page_token_is_good_for_its_namespace_run_and_list_alone(caller: Caller):
    for namespace in ("default", "other"):
        for workflow_id in ("w", "v"):
            await caller.start(workflow_id, namespace=namespace)
    for name in ("GetWorkflowExecutionHistory", "GetWorkflowExecutionHistoryReverse"):
        asked: dict[str, Any] = {"execution": {"workflow_id": "w"}, "maximum_page_size": 1}
        token = (await caller.call(name, **asked)).next_page_token
        assert token
        with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
            await caller.call(name, **asked, namespace="other", next_page_token=token)
        another: dict[str, Any] = {"workflow_id": "v"}
        with pytest.raises(NotFound):
            await caller.call(name, execution=another, next_page_token=token)
        described = await caller.call("DescribeWorkflowExecution", execution=another)
        another["run_id"] = described.workflow_execution_info.execution.run_id
        with pytest.raises(InvalidArgument, match="does not match the NextPageToken"):
            await caller.call(name, execution=another, next_page_token=token)
        with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
            await caller.call(name, **asked, next_page_token=seals.body_of(token))
        assert (await caller.call(name, **asked, next_page_token=token)).history.events
    lists = "ListWorkflowExecutions"
    token = (await caller.call(lists, page_size=1)).next_page_token
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        await caller.call(lists, page_size=1, next_page_token=token, namespace="other")
    for forged in (seals.body_of(token), b"garbage", token[:-1]):
        with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
            await caller.call(lists, page_size=1, next_page_token=forged)
    assert len((await caller.call(lists, page_size=5, next_page_token=token)).executions) == 1


async def test_rule_25_another_query_goes_on_from_the_position_of_the_token(caller: Caller):
    for name in ("a", "b", "c", "d"):
        await caller.start(name)
    lists = "ListWorkflowExecutions"
    first = await caller.call(lists, page_size=2, query="ExecutionStatus = 'Running'")
    assert [one.execution.workflow_id for one in first.executions] == ["d", "c"]
    for query, rest in {
        "ExecutionStatus='Running'": ["b", "a"],
        "": ["b", "a"],
        "WorkflowId = 'a'": ["a"],
        "WorkflowId = 'd'": [],
    }.items():
        page = await caller.call(lists, query=query, next_page_token=first.next_page_token)
        assert [one.execution.workflow_id for one in page.executions] == rest


async def test_a_worker_reads_on_with_the_token_of_its_task(caller: Caller):
    await caller.start()
    for number in range(300):
        await caller.signal(name=str(number))
    task = await caller.poll()
    assert task.next_page_token
    rest = await caller.history(
        execution=task.workflow_execution, next_page_token=task.next_page_token
    )
    ids = [event.event_id for event in (*task.history.events, *rest.history.events)]
    assert ids == list(range(1, 304))
    assert rest.history.events[-1].event_type == enums.EVENT_TYPE_WORKFLOW_TASK_STARTED
    await caller.complete(task, complete_workflow())


@pytest.mark.parametrize(
    "token",
    [
        WorkflowTaskToken("namespace", "w", "run", 1, 2, 1, 0),
        ActivityTaskToken("namespace", "w", "run", 1, 1, "a"),
        QueryToken("namespace", "query", "w"),
    ],
)
def test_a_token_that_is_not_utf8_is_no_token(token: TaskToken):
    damaged = encode_token(token).replace(b"namespace", b"name\xffpace")
    with pytest.raises(InvalidArgument, match=FORGED):
        decode_token(damaged, type(token))
    assert entity_of(damaged) is None
    assert entity_of(encode_token(token)) == token.entity
