"""A node on virtual time, live runs, and requests at random; what must never happen is a `Finding`.

A seed gives the same requests each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from perdure.core.units import SECOND_NS
from perdure.server.admin.audit import audit_memory
from perdure.server.frontend.rpcs import RPCS
from perdure.server.node.node import open_node
from perdure.storage.sqlite import connect_memory, open_memory
from perdure.testing.simulation.loop import SimLoop
from perdure.wire.api import enums, workflowservice
from perdure.wire.error_bounds import (
    MESSAGE_WIRE_BYTES_MAX,
    STATUS_WIRE_BYTES_MAX,
    message_wire_bytes,
    status_wire_bytes,
)
from perdure.wire.errors import SHOWN_CHARACTERS_MAX, RpcError, RPCStatusCode
from perdure.wire.seam import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE, Method, Waits
from tests.fuzz.maker import FILLER, Maker
from tests.harness.builders import command, complete_workflow, start_timer
from tests.unit.server.virtual import virtual_clock

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.server.node.node import Node

METHODS: tuple[Method, ...] = (
    *WORKFLOW_SERVICE.values(),
    *OPERATOR_SERVICE.values(),
    *TEST_SERVICE.values(),
)
ANSWERED: tuple[Method, ...] = tuple(method for method in METHODS if method.path in RPCS)
MISSING: tuple[Method, ...] = tuple(method for method in METHODS if method.path not in RPCS)
OUR_FAULT = frozenset(
    {
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.DATA_LOSS,
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.CANCELLED,
    }
)
"""Codes that blame the server, which has no trouble here. Clients repeat such calls."""
FAVOURITES = ("RespondWorkflowTaskCompleted", "StartWorkflowExecution", "PollActivityTaskQueue")
"""Methods with the largest requests, and those on which others depend, are called more often."""
ANSWER_WITHIN_S = 30.0
"""A call that waits for nothing has no reason to take longer. Time is virtual."""
WAIT_AT_MOST_S = 200.0
CALLERS = 3
SHARDS = 2
QUEUE = "queue"
ACTIVITY: dict[str, Any] = {
    "activity_type": {"name": "greet"},
    "task_queue": {"name": QUEUE},
    "start_to_close_timeout": {"seconds": 3_600},
}


class Finding(AssertionError):
    """The server did what no request may make it do."""


class _Errors(logging.Handler):
    """Keeps what is logged at level ERROR."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


class Player:
    """Plays requests against a node.

    Args:
        seed: Decides everything.
        requests: How many requests at random.
    """

    def __init__(self, seed: int, requests: int) -> None:
        self.random = Random(seed)
        self.maker = Maker(self.random)
        self.outcomes: Counter[str] = Counter()
        """By method and code."""
        self._left = requests
        self._errors = _Errors()
        self._connection = connect_memory(SHARDS)
        self._ids = count(1)

    def play(self) -> None:
        """Play all requests, then check the database.

        Raises:
            Finding: Something happened that must not.
        """
        logging.getLogger().addHandler(self._errors)
        try:
            SimLoop().run(self._play())
        finally:
            logging.getLogger().removeHandler(self._errors)
        report = audit_memory(self._connection)
        if not report.is_sound:
            raise Finding(f"the database is unsound: {report.findings[:5]}")

    async def _play(self) -> None:
        node = await self._open()
        await self._register(node)
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(self._caller(node))
        await self._work(node)
        await node.close()
        again = await self._open()
        await self._look(again)
        await self._work(again)
        await again.close()
        self._check_log()

    async def _open(self) -> Node:
        return await open_node(
            open_memory(connection=self._connection), clock=virtual_clock(), new_id=self._new_id
        )

    def _new_id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._ids):012}"

    async def _register(self, node: Node) -> None:
        names = {"Keywords": 7, "Count": 3, "Ratio": 4, "Done": 5, "At": 6, "Word": 2}
        await self._call(node, "AddSearchAttributes", namespace="default", search_attributes=names)
        for name in names:
            self.maker.learn("indexed_fields", name)
        for name, value in (
            ("namespace", "default"),
            ("TaskQueue", QUEUE),
            ("task_queue", QUEUE),
            ("WorkflowType", "Greeting"),
            ("ActivityType", "greet"),
            *(("activity_id", f"a{number}") for number in range(4)),
            *(("update_id", f"u{number}") for number in range(3)),
        ):
            self.maker.learn(name, value)

    async def _caller(self, node: Node) -> None:
        while self._left > 0:
            self._left -= 1
            if self.random.random() < 0.08:
                await self._tend(node)
            if self.random.random() < 0.1:
                method = WORKFLOW_SERVICE[self.random.choice(FAVOURITES)]
            elif self.random.random() < 0.01:
                method = self.random.choice(MISSING)
            else:
                method = self.random.choice(ANSWERED)
            await self._send(node, method)

    async def _send(self, node: Node, method: Method) -> None:
        """One request at random."""
        request = self.maker.request(method.request_type)
        data = self.maker.encoded(request)
        timeout_ns = self.random.choice(
            (0, 1, SECOND_NS // 10, 3 * SECOND_NS, 3 * SECOND_NS, 20 * SECOND_NS)
        )
        try:
            await self.dispatched(node, method, data, timeout_ns)
            self._check_log()
        except Finding as finding:
            finding.add_note(f"the request, unless it was damaged: {method.name} {request!s:.3000}")
            raise

    async def dispatched(
        self, node: Node, method: Method, data: bytes, timeout_ns: int
    ) -> Message | None:
        """The answer to an encoded request; None for an error, or when the caller stops waiting."""
        waits = method.waits is not Waits.FOR_NOTHING
        limit_s = min(timeout_ns / SECOND_NS, WAIT_AT_MOST_S) if waits else ANSWER_WITHIN_S
        try:
            async with asyncio.timeout(limit_s):
                reply = await node.frontend.dispatch_encoded(method, data, {}, timeout_ns)
        except TimeoutError:
            self.outcomes[f"{method.name} gone"] += 1
            if not waits:
                raise Finding(f"{method.name} hangs") from None
            return None
        except RpcError as error:
            self.outcomes[f"{method.name} {error.code.name}"] += 1
            self._check_error(method, error)
            return None
        except Exception as error:
            raise Finding(f"{method.name} raises {type(error).__name__}: {error}") from error
        self.outcomes[f"{method.name} OK"] += 1
        try:
            response = method.response_type.FromString(reply)
        except DecodeError:
            raise Finding(f"the answer to {method.name} cannot be read") from None
        self.maker.learn_from(response)
        return response

    def _check_error(self, method: Method, error: RpcError) -> None:
        if error.code is RPCStatusCode.UNAVAILABLE and "was lost before" in error.message:
            # Two callers sent one update that was rejected, and the first took the outcome. The second asks again.
            return
        if error.code in OUR_FAULT:
            logged = "".join(self._errors.records)
            raise Finding(f"{method.name} answers {error.code.name}: {error.message}\n{logged}")
        if method.path in RPCS and error.code is RPCStatusCode.UNIMPLEMENTED:
            raise Finding(f"{method.name} answers {error.code.name}: {error.message}")
        if message_wire_bytes(error.message) > MESSAGE_WIRE_BYTES_MAX:
            raise Finding(f"the message of {method.name} is too long")
        if status_wire_bytes(error) > STATUS_WIRE_BYTES_MAX:
            raise Finding(f"the details of {method.name} are too long")
        # The failure of a query is the answer of a worker.
        if method.name != "QueryWorkflow" and FILLER * (SHOWN_CHARACTERS_MAX + 1) in error.message:
            raise Finding(f"{method.name} repeats what it was sent: {error.message[:300]}")

    def _check_log(self) -> None:
        if self._errors.records:
            raise Finding(f"logged as an error: {self._errors.records[0]}")

    # ── what a client and a worker do ─────────────────────────────────────────────────────────────

    async def _call(self, node: Node, name: str, timeout_s: int = 3, **fields: Any) -> Any:
        method = WORKFLOW_SERVICE.get(name) or OPERATOR_SERVICE[name]
        data = method.request_type(**fields).SerializeToString()
        return await self.dispatched(node, method, data, timeout_s * SECOND_NS)

    async def _start(self, node: Node, workflow_id: str, queue: str) -> Any:
        return await self._call(
            node,
            "StartWorkflowExecution",
            namespace="default",
            workflow_id=workflow_id,
            workflow_type={"name": "Greeting"},
            task_queue={"name": queue},
        )

    async def _tend(self, node: Node) -> None:
        """Keep runs alive whose tokens, activities and updates other requests can name."""
        workflow_id = f"w{self.random.randrange(4)}"
        self.maker.learn("workflow_id", workflow_id)
        await self._start(node, workflow_id, QUEUE)
        execution: dict[str, Any] = {"workflow_id": workflow_id}
        update_id = f"u{self.random.randrange(3)}"
        asked = asyncio.create_task(
            self._call(
                node,
                "UpdateWorkflowExecution",
                namespace="default",
                workflow_execution=execution,
                wait_policy={"lifecycle_stage": 3},
                request={"meta": {"update_id": update_id}, "input": {"name": "set"}},
            )
        )
        queried = asyncio.create_task(
            self._call(
                node,
                "QueryWorkflow",
                namespace="default",
                execution=execution,
                query={"query_type": "stage"},
            )
        )
        task = await self._poll(node, QUEUE)
        if task is not None and task.task_token and self.random.random() < 0.6:
            await self._call(
                node,
                "RespondWorkflowTaskCompleted",
                namespace="default",
                task_token=task.task_token,
                commands=[
                    command(
                        "SCHEDULE_ACTIVITY_TASK",
                        activity_id=f"a{self.random.randrange(4)}",
                        **ACTIVITY,
                    ),
                    start_timer(f"t{self._left}", 600 * SECOND_NS),
                ],
            )
        await self._call(
            node, "PollActivityTaskQueue", namespace="default", task_queue={"name": QUEUE}
        )
        for waiting in (asked, queried):
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting

    async def _poll(
        self, node: Node, queue: str
    ) -> workflowservice.PollWorkflowTaskQueueResponse | None:
        return await self._call(
            node, "PollWorkflowTaskQueue", namespace="default", task_queue={"name": queue}
        )

    async def _work(self, node: Node) -> None:
        """After all of it, an ordinary workflow runs."""
        workflow_id = f"after {next(self._ids)}"
        await self._start(node, workflow_id, "another queue")
        task = await self._poll(node, "another queue")
        if task is None or not task.task_token:
            raise Finding("an ordinary workflow gets no workflow task")
        await self._call(
            node,
            "RespondWorkflowTaskCompleted",
            namespace="default",
            task_token=task.task_token,
            commands=[complete_workflow()],
        )
        described = await self._call(
            node,
            "DescribeWorkflowExecution",
            namespace="default",
            execution={"workflow_id": workflow_id},
        )
        status = described.workflow_execution_info.status if described else None
        if status != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
            raise Finding(f"an ordinary workflow does not end: {described}")

    async def _look(self, node: Node) -> None:
        """Load each run again, and read it whole."""
        names: Any = await self._call(node, "ListNamespaces", page_size=100)
        for namespace in names.namespaces:
            name = namespace.namespace_info.name
            listed: Any = await self._call(
                node, "ListWorkflowExecutions", namespace=name, page_size=1_000
            )
            for info in listed.executions:
                # A run may be deleted meanwhile, when its namespace keeps closed runs for seconds.
                for method in ("DescribeWorkflowExecution", "GetWorkflowExecutionHistory"):
                    await self._call(node, method, namespace=name, execution=info.execution)
