"""Functions that ask the runtime: time, randomness, timers, conditions, patches, memo, details.

Every function raises `NotInWorkflowEventLoopError` outside a workflow, except `in_workflow`. Some names shadow builtins
and standard modules (`random`, `time`) because users write `workflow.random()`.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, overload

from perdure.common.signatures import UNSET
from perdure.types import AnyType, ParamType
from perdure.workflow import _runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perdure.common import MetricMeter, SearchAttributes, SearchAttributeUpdate
    from perdure.converter import PayloadConverter


def in_workflow() -> bool:
    """Whether the calling code runs in a workflow. Never raises.

    Example:
        ```python
        assert not workflow.in_workflow()
        ```
    """
    return _runtime.maybe_current() is not None


def instance() -> Any:
    """The workflow object: the instance of the running workflow's class.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().instance()


# ── time and randomness ───────────────────────────────────────────────────────────────────────────


def now() -> datetime:
    """The current workflow time, in UTC.

    It is the time of the current workflow task, so it does not advance while workflow code runs. Replay gives the same
    value.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Trial:
            @workflow.run
            async def run(self) -> int:
                began = workflow.now()
                await workflow.sleep(timedelta(days=14))
                return (workflow.now() - began).days


        async with Worker(client, task_queue="trials", workflows=[Trial]):
            days = await client.execute_workflow(Trial.run, id="trial-7", task_queue="trials")
        assert days == 14
        ```
    """
    return datetime.fromtimestamp(time(), UTC)


def time() -> float:
    """The current workflow time, in seconds since the Unix epoch. Replay gives the same value.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return time_ns() / 1e9


def time_ns() -> int:
    """The current workflow time, in nanoseconds since the Unix epoch. Replay gives the same value.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().time_ns()


def random() -> Random:
    """The workflow's random number generator. It gives the same numbers on replay.

    The seed is part of the history, so do not use it for secrets.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Lottery:
            @workflow.run
            async def run(self, tickets: list[str]) -> str:
                return workflow.random().choice(tickets)


        async with Worker(client, task_queue="draws", workflows=[Lottery]):
            winner = await client.execute_workflow(
                Lottery.run, ["red", "blue"], id="draw-7", task_queue="draws"
            )
        assert winner in {"red", "blue"}
        ```
    """
    return _runtime.current().random()


def random_seed() -> int:
    """The seed of `random()`. It changes when the run is reset.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().random_seed()


def register_random_seed_callback(callback: Callable[[int], None]) -> None:
    """Register a function to be called when the seed of `random()` changes, which a reset does.

    Args:
        callback: Called with the new seed.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().register_random_seed_callback(callback)


def new_random(name: str | None = None) -> Random:
    """Create a further random number generator. It is reseeded when the workflow's seed changes.

    Args:
        name: Mixed into the seed, so that generators with different names differ from each other and from `random()`.
            Without a name the generator begins with the same numbers as `random()`.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """

    def seed(workflow_seed: int) -> int | str:
        return workflow_seed if name is None else f"{workflow_seed}:{name}"

    generator = Random(seed(random_seed()))  # deterministic by intent  # noqa: S311
    register_random_seed_callback(lambda workflow_seed: generator.seed(seed(workflow_seed)))
    return generator


def uuid4() -> uuid.UUID:
    """A random UUID (version 4) drawn from `random()`. Replay gives the same one. Not for secrets.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Payment:
            @workflow.run
            async def run(self) -> str:
                return str(workflow.uuid4())  # the idempotency key of all attempts


        async with Worker(client, task_queue="payments", workflows=[Payment]):
            key = await client.execute_workflow(Payment.run, id="payment-7", task_queue="payments")
        assert len(key) == 36
        ```
    """
    return uuid.UUID(bytes=random().getrandbits(128).to_bytes(16, "big"), version=4)


def uuid7() -> uuid.UUID:
    """A UUID that sorts by workflow time (RFC 9562, version 7). Replay gives the same one.

    Workflow time does not advance within a workflow task, so UUIDs made in one task are not ordered among themselves.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    generator = random()
    milliseconds = (time_ns() // 1_000_000) & ((1 << 48) - 1)
    high = (milliseconds << 16) | (7 << 12) | generator.getrandbits(12)
    low = (0b10 << 62) | generator.getrandbits(62)
    return uuid.UUID(int=(high << 64) | low)


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


async def sleep(duration: float | timedelta, *, summary: str | None = None) -> None:
    """Sleep for a duration. The timer is durable: it is recorded in the history and survives every restart.

    Args:
        duration: Seconds, or a timedelta. Zero also creates a timer.
        summary: One line to show beside the timer in the UI and on the command line.

    Raises:
        asyncio.CancelledError: The workflow, or the task that sleeps, was cancelled.
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Reminder:
            @workflow.run
            async def run(self, order_id: str) -> str:
                await workflow.sleep(timedelta(days=3), summary="grace period")
                return f"please pay {order_id}"


        async with Worker(client, task_queue="orders", workflows=[Reminder]):
            text = await client.execute_workflow(
                Reminder.run, "order-7", id="reminder-7", task_queue="orders"
            )
        assert text == "please pay order-7"
        ```
    """
    await _runtime.current().sleep(_seconds(duration), summary=summary)


async def wait_condition(
    fn: Callable[[], bool],
    *,
    timeout: timedelta | float | None = None,
    timeout_summary: str | None = None,
) -> None:
    """Wait until a function returns true.

    The function is called each time the workflow makes progress. It must be quick and must not change anything.

    Args:
        fn: The condition.
        timeout: Longest wait, in seconds or as a timedelta. It creates a durable timer. None: no limit and no timer.
        timeout_summary: One line to show beside that timer in the UI and on the command line.

    Raises:
        asyncio.TimeoutError: The time-out passed first.
        asyncio.CancelledError: The workflow, or the task that waits, was cancelled.
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Purchase:
            def __init__(self) -> None:
                self.approved = False

            @workflow.signal
            def approve(self) -> None:
                self.approved = True

            @workflow.run
            async def run(self) -> str:
                try:
                    await workflow.wait_condition(lambda: self.approved, timeout=timedelta(days=3))
                except asyncio.TimeoutError:
                    return "expired"
                return "approved"


        async with Worker(client, task_queue="orders", workflows=[Purchase]):
            outcome = await client.execute_workflow(
                Purchase.run, id="purchase-7", task_queue="orders"
            )
        assert outcome == "expired"
        ```
    """
    await _runtime.current().wait_condition(
        fn,
        timeout=None if timeout is None else _seconds(timeout),
        timeout_summary=timeout_summary,
    )


wait_for_condition = wait_condition
"""The same function under its other common name."""


# ── versions of the code ──────────────────────────────────────────────────────────────────────────


def patched(id: str) -> bool:
    """Whether a run takes the new path of a change to workflow code.

    True in runs that reach this call for the first time, false when replaying a history that was made before the
    change. The answer is recorded, so it stays the same for the rest of the run.

    Args:
        id: Name of the change.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> list[str]:
                if workflow.patched("charge-before-ship"):
                    return ["charge", "ship"]
                return ["ship", "charge"]


        async with Worker(client, task_queue="orders", workflows=[Order]):
            steps = await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
        assert steps == ["charge", "ship"]
        ```
    """
    return _runtime.current().patch(id, deprecated=False)


def deprecate_patch(id: str) -> None:
    """Declare that no open run needs the old path of a change. The old code can then be removed.

    Histories recorded with `patched` and those recorded with this function both replay.

    Args:
        id: The id that was given to `patched`.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().patch(id, deprecated=True)


# ── what is known about the run ───────────────────────────────────────────────────────────────────


def cancellation_reason() -> str | None:
    """The reason given with the request to cancel this workflow, possibly empty. None: cancellation was not requested.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().cancellation_reason()


def is_failure_exception(err: BaseException) -> bool:
    """Whether raising an exception from `run` would fail the workflow. Other exceptions fail only the workflow task.

    Args:
        err: The exception.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().is_failure_exception(err)


def memo() -> Mapping[str, Any]:
    """The workflow's memo: values by key, converted without type hints.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().memo()


@overload
def memo_value(key: str, default: Any = UNSET) -> Any: ...
@overload
def memo_value(key: str, *, type_hint: type[ParamType]) -> ParamType: ...
@overload
def memo_value(
    key: str, default: AnyType, *, type_hint: type[ParamType]
) -> AnyType | ParamType: ...
def memo_value(key: str, default: Any = UNSET, *, type_hint: type | None = None) -> Any:
    """One value of the workflow's memo.

    Args:
        key: Its key.
        default: Returned when the memo has no such key.
        type_hint: Type to convert the value to.

    Raises:
        KeyError: The memo has no such key, and no default was given.
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                return workflow.memo_value("customer", "unknown", type_hint=str)


        async with Worker(client, task_queue="orders", workflows=[Order]):
            customer = await client.execute_workflow(
                Order.run, id="order-7", task_queue="orders", memo={"customer": "Ada"}
            )
        assert customer == "Ada"
        ```
    """
    return _runtime.current().memo_value(key, default, type_hint=type_hint)


def upsert_memo(updates: Mapping[str, Any]) -> None:
    """Add, replace or remove entries of the workflow's memo.

    Args:
        updates: New values by key. None removes the key; other keys keep their values.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> None:
                workflow.upsert_memo({"state": "paid"})


        async with Worker(client, task_queue="orders", workflows=[Order]):
            handle = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await handle.result()
        description = await handle.describe()
        assert await description.memo() == {"state": "paid"}
        ```
    """
    _runtime.current().upsert_memo(updates)


def upsert_search_attributes(
    attributes: SearchAttributes | Sequence[SearchAttributeUpdate[Any]],
) -> None:
    """Add, replace or remove search attributes of the workflow.

    Args:
        attributes: Updates made by `SearchAttributeKey.value_set` and `value_unset`. An empty sequence does nothing.
            A mapping of names to lists of values is deprecated.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        from perdure.common import SearchAttributeKey
        from perdure.wire.api import enums, operatorservice

        STATE = SearchAttributeKey.for_keyword("State")
        # Once for each namespace; `perdure server start-dev --search-attribute State=Keyword` does the same.
        request = operatorservice.AddSearchAttributesRequest(namespace=client.namespace)
        request.search_attributes["State"] = enums.INDEXED_VALUE_TYPE_KEYWORD
        await client.operator_service.add_search_attributes(request)


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> None:
                workflow.upsert_search_attributes([STATE.value_set("paid")])


        async with Worker(client, task_queue="orders", workflows=[Order]):
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await order.result()
        description = await order.describe()
        assert description.typed_search_attributes[STATE] == "paid"
        ```
    """
    if attributes:
        _runtime.current().upsert_search_attributes(attributes)


def get_current_details() -> str:
    """The text of the last `set_current_details`; empty before the first.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().current_details()


def set_current_details(description: str) -> None:
    """Describe what the workflow is doing at the moment, for the UI and the command line.

    Args:
        description: A short text; Markdown is allowed.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().set_current_details(description)


def has_last_completion_result() -> bool:
    """Whether an earlier run of this cron workflow or schedule has left a result.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().has_last_completion_result()


@overload
def get_last_completion_result() -> Any | None: ...
@overload
def get_last_completion_result(type_hint: type[ParamType]) -> ParamType | None: ...
def get_last_completion_result(type_hint: type | None = None) -> Any | None:
    """The result of the last run of this cron workflow or schedule that completed; None if there is none.

    Args:
        type_hint: Type to convert the result to.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().last_completion_result(type_hint)


def get_last_failure() -> BaseException | None:
    """The failure of the previous run in a chain of retries or cron runs; None if it did not fail.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().last_failure()


def all_handlers_finished() -> bool:
    """Whether no signal handler and no update handler is running.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                await workflow.wait_condition(workflow.all_handlers_finished)
                return "done"


        async with Worker(client, task_queue="orders", workflows=[Order]):
            assert await client.execute_workflow(Order.run, id="o-7", task_queue="orders") == "done"
        ```
    """
    return _runtime.current().all_handlers_finished()


def payload_converter() -> PayloadConverter:
    """The payload converter of this workflow. Dynamic handlers use it to convert raw values.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().payload_converter()


def metric_meter() -> MetricMeter:
    """A meter for the workflow's own metrics. It records nothing during replay.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().metric_meter()


def extern_functions() -> Mapping[str, Callable[..., Any]]:
    """Functions that worker interceptors provide to workflow code, by name.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().extern_functions()
