"""Connections to an embedded engine: where they lead, what ends with them, and whom they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.embedded import engine as embedded
from perdure.embedded import open_embedded
from perdure.service import ConnectConfig, RPCError, RPCStatusCode, ServiceClient
from perdure.storage.port import InUse, NotWritten
from perdure.storage.sqlite import SqliteStore, open_sqlite
from perdure.wire import errors
from perdure.wire.api import common, query
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.unit.embedded.calls import QUEUE, call, start


async def test_a_poll_that_finds_nothing_is_answered_empty_and_not_late():
    connection = await open_embedded("memory:")
    answered = await call(connection, "PollWorkflowTaskQueue", 2, task_queue=QUEUE)
    assert not answered.task_token
    assert not connection._waiting
    assert not connection._limits._calls
    await connection.close()


async def test_a_call_without_a_limit_has_that_of_its_method():
    connection = await open_embedded("memory:")
    run_id = await start(connection)
    method = WORKFLOW_SERVICE["DescribeWorkflowExecution"]
    request = method.request_type(
        namespace="default", execution=common.WorkflowExecution(workflow_id="w")
    )
    answer: Any = await connection.call(method, request)
    assert answer.workflow_execution_info.execution.run_id == run_id
    assert not connection._limits._calls
    await connection.close()


async def test_errors_of_the_engine_and_headers_pass_through():
    connection = await open_embedded("memory:")
    with pytest.raises(errors.NotFound, match="workflow not found"):
        await call(
            connection,
            "DescribeWorkflowExecution",
            execution=common.WorkflowExecution(workflow_id="nobody"),
        )
    seen: list[object] = []
    dispatch = connection._node.frontend.dispatch

    async def watched(method: Any, request: Any, metadata: Any, timeout_ns: Any) -> Any:
        seen.append((metadata, timeout_ns))
        return await dispatch(method, request, metadata, timeout_ns)

    connection._node.frontend.dispatch = watched  # type: ignore[method-assign]
    method = WORKFLOW_SERVICE["GetSystemInfo"]
    await connection.call(
        method, method.request_type(), metadata={"client-name": "me"}, timeout_ns=7_000_000_000
    )
    assert seen == [({"client-name": "me"}, 7_000_000_000)]
    await connection.close()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("PollActivityTaskQueue", {"task_queue": QUEUE}),
        ("PollWorkflowTaskQueue", {"task_queue": QUEUE}),
        (
            "QueryWorkflow",
            {
                "execution": common.WorkflowExecution(workflow_id="w"),
                "query": query.WorkflowQuery(query_type="q"),
            },
        ),
        (
            "UpdateWorkflowExecution",
            {
                "workflow_execution": common.WorkflowExecution(workflow_id="w"),
                "request": {"meta": {"update_id": "u"}, "input": {"name": "n"}},
            },
        ),
        (
            "ExecuteMultiOperation",
            {
                "operations": [
                    {
                        "start_workflow": {
                            "workflow_id": "v",
                            "workflow_type": {"name": "T"},
                            "task_queue": QUEUE,
                        }
                    },
                    {
                        "update_workflow": {
                            "workflow_execution": {"workflow_id": "v"},
                            "request": {"meta": {"update_id": "u"}, "input": {"name": "n"}},
                        }
                    },
                ]
            },
        ),
    ],
)
async def test_what_may_wait_for_a_workflow_ends_with_its_connection(
    name: str, fields: dict[str, Any]
):
    connection, other = await open_embedded("memory:x"), await open_embedded("memory:x")
    await start(connection)
    queue = "q" if name != "PollWorkflowTaskQueue" else "nobody's"
    if name == "PollWorkflowTaskQueue":
        fields = {"task_queue": {"name": queue}}
    waiting = asyncio.ensure_future(call(connection, name, 60, **fields))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await connection.close()
    with pytest.raises(errors.ConnectionClosed, match="memory:x"):
        await asyncio.wait_for(waiting, 10)
    await other.close()


async def test_a_change_under_way_is_finished_when_its_connection_closes():
    connection, other = await open_embedded("memory:x"), await open_embedded("memory:x")
    starting = asyncio.ensure_future(start(connection))
    await asyncio.sleep(0)
    await connection.close()
    assert await starting == await start(other)
    await other.close()


async def test_one_who_stops_waiting_does_not_take_the_engine_from_another(tmp_path: Path):
    url = f"sqlite:{tmp_path}/x.db"
    gone, stays = (asyncio.create_task(open_embedded(url)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    connection = await stays
    await asyncio.sleep(0.02)
    assert await start(connection)
    engine = embedded.shared_engines[(tmp_path / "x.db").resolve()]
    while engine._leaving:  # noqa: ASYNC110 -- nothing announces it
        await asyncio.sleep(0.01)
    assert engine._connections == 1
    await connection.close()
    assert (tmp_path / "x.db").resolve() not in embedded.shared_engines
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_failed_opening_fails_for_all_and_leaves_nothing(tmp_path: Path):
    file = tmp_path / "x.db"
    file.write_text("no database at all")
    results = await asyncio.gather(
        *(open_embedded(f"sqlite:{file}") for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(each, errors.FailedPrecondition) for each in results)
    assert file.resolve() not in embedded.shared_engines
    assert not [engine for engine in embedded.all_engines if engine.place == file.resolve()]
    file.unlink()
    connection = await open_embedded(f"sqlite:{file}")
    assert await start(connection)
    await connection.close()


def opening(failures: list[Exception]) -> Callable[[Path], Awaitable[SqliteStore]]:
    async def open_it(place: Path) -> SqliteStore:
        if failures:
            raise failures.pop(0)
        return await open_sqlite(place)

    return open_it


async def test_a_file_of_a_process_on_its_way_out_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "IN_USE_RETRY_NS", 1_000_000)
    monkeypatch.setattr(embedded, "IN_USE_WAIT_NS", 3_600 * 10**9)
    failures: list[Exception] = [InUse("in use", "999999") for _ in range(5)]
    monkeypatch.setattr(embedded, "open_sqlite", opening(failures))
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")
    assert not failures
    await connection.close()


async def test_a_file_that_stays_in_use_is_refused_with_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "IN_USE_WAIT_NS", -1)
    monkeypatch.setattr(embedded, "open_sqlite", opening([InUse("in use", "999999")]))
    with pytest.raises(errors.FailedPrecondition, match="in use by process 999999") as caught:
        await open_embedded(f"sqlite:{tmp_path}/x.db")
    assert f"--db-filename {tmp_path}/x.db" in caught.value.message
    monkeypatch.setattr(embedded, "open_sqlite", opening([InUse("in use", "")]))
    with pytest.raises(errors.FailedPrecondition, match="in use by process unknown"):
        await open_embedded(f"sqlite:{tmp_path}/x.db")


async def test_a_file_that_this_process_has_open_itself_is_refused_at_once(tmp_path: Path):
    store = await open_sqlite(tmp_path / "x.db")
    with pytest.raises(errors.FailedPrecondition, match="open in this process already"):
        await asyncio.wait_for(open_embedded(f"sqlite:{tmp_path}/x.db"), 1.9)
    await store.close()


async def test_a_file_that_can_not_be_written_says_so_and_is_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def refused(_: SqliteStore, __: int) -> Any:
        raise NotWritten("disk full (test)")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "acquire", refused)
        with pytest.raises(errors.FailedPrecondition, match="cannot be written: disk full"):
            await open_embedded(f"sqlite:{tmp_path}/x.db")
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")
    await connection.close()


async def test_a_bug_at_the_opening_lets_go_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def broken(*_: object, **__: object) -> Any:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "open_node", broken)
        with pytest.raises(ZeroDivisionError):
            await open_embedded(f"sqlite:{tmp_path}/x.db")
    store = await open_sqlite(tmp_path / "x.db")
    await store.close()


async def test_a_connection_of_the_parent_is_refused_in_a_forked_child(
    monkeypatch: pytest.MonkeyPatch,
):
    connection = await open_embedded("memory:")
    with monkeypatch.context() as patch:
        patch.setattr(embedded._Process, "generation", embedded._Process.generation + 1)
        with pytest.raises(errors.FailedPrecondition, match="forked after its parent"):
            await start(connection)
        with pytest.raises(errors.FailedPrecondition, match="forked after its parent"):
            await connection.close()
    await connection.close()


def test_a_forked_child_has_none_of_its_parents_engines(monkeypatch: pytest.MonkeyPatch):
    class Engine:
        left = 0

        def leave_to_parent(self) -> None:
            self.left += 1

    engines = [Engine(), Engine()]
    monkeypatch.setattr(embedded, "all_engines", set(engines))
    monkeypatch.setattr(embedded, "shared_engines", {"x": engines[0]})
    monkeypatch.setattr(embedded, "_of_parent", [])
    monkeypatch.setattr(embedded._Process, "generation", 0)
    embedded._after_fork()
    assert [engine.left for engine in engines] == [1, 1]
    assert (embedded._Process.generation, embedded.shared_engines, embedded.all_engines) == (
        1,
        {},
        set(),
    )
    assert len(embedded._of_parent) == 2, "even closing what the parent opened would be wrong"


async def test_a_client_on_another_loop_is_refused():
    connection = await open_embedded("memory:")

    async def elsewhere() -> None:
        with pytest.raises(errors.FailedPrecondition, match="belongs to another event loop"):
            await start(connection)
        with pytest.raises(errors.FailedPrecondition, match="belongs to another event loop"):
            await connection.close()

    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    await connection.close()


async def test_a_call_that_the_engine_does_not_answer_in_time_is_late(
    monkeypatch: pytest.MonkeyPatch,
):
    connection = await open_embedded("memory:")

    async def never(*_: object) -> Any:
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(connection._node.frontend, "dispatch", never)
        with pytest.raises(
            errors.DeadlineExceeded, match=r"GetSystemInfo was not answered in 0\.01"
        ):
            await asyncio.wait_for(call_info(connection, 10_000_000), 60)
    assert not connection._limits._calls
    await connection.close()


async def call_info(connection: embedded.EmbeddedConnection, timeout_ns: int) -> Any:
    method = WORKFLOW_SERVICE["GetSystemInfo"]
    return await connection.call(method, method.request_type(), timeout_ns=timeout_ns)


async def test_an_engine_closes_though_who_closed_it_does_not_wait(tmp_path: Path):
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    while (tmp_path / "x.db").resolve() in embedded.shared_engines:  # noqa: ASYNC110 -- it closes by itself
        await asyncio.sleep(0.01)
    store = await open_sqlite(tmp_path / "x.db")
    await store.close()


async def test_an_engine_without_a_name_is_known_to_its_connection_alone():
    connection = await open_embedded("memory:")
    assert "" not in embedded.shared_engines
    await connection.close()
    assert not [engine for engine in embedded.all_engines if engine.place == ""]


async def test_an_open_engine_says_that_it_serves() -> None:
    client = await ServiceClient.connect(ConnectConfig("memory:"))
    assert await client.check_health()
    assert await client.check_health(service="temporal.api.operatorservice.v1.OperatorService")
    with pytest.raises(RPCError, match="unknown service 'orders'") as unknown:
        await client.check_health(service="orders")
    assert unknown.value.status is RPCStatusCode.NOT_FOUND
    await client.close()
    with pytest.raises(RPCError):
        await client.check_health()
