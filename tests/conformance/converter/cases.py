"""Values and errors that both SDKs convert. Imports neither: the caller passes its own modules in."""

from __future__ import annotations

import collections
import dataclasses
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Literal, NewType, Optional, TypedDict, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

OrderId = NewType("OrderId", str)


class Color(IntEnum):
    RED = 1
    BLUE = 2


class Size(StrEnum):
    S = "small"
    L = "large"


@dataclasses.dataclass(frozen=True)
class Item:
    name: str
    price: float
    tags: list[str] = dataclasses.field(default_factory=list)
    at: datetime | None = None
    total: float = dataclasses.field(init=False, default=0.0)


@dataclasses.dataclass
class Order:
    id: OrderId
    items: list[Item]
    by_color: dict[Color, int]
    size: Size
    note: str | None = None
    key: uuid.UUID | None = None


class Address(TypedDict):
    street: str
    number: int


MOMENT = datetime(2026, 11, 22, 12, 30, 1, 500, tzinfo=UTC)
ORDER = Order(
    id=OrderId("o-1"),
    items=[Item("a", 1.5, ["x", "ü"], MOMENT), Item("b", 2)],
    by_color={Color.RED: 3, Color.BLUE: 0},
    size=Size.L,
    key=uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
)


def struct() -> Struct:
    made = Struct()
    made.update({"b": [1, None, "x"], "a": {"c": True}})
    return made


# name → (value, hint or None)
VALUES: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "none hinted": (None, Optional[str]),  # noqa: UP045 - the old spelling on purpose
    "none for text": (None, str),
    "bytes": (b"\x00\xff", bytes),
    "text": ("größe \U0001f600", str),
    "int": (2**53, int),
    "float": (1.5, float),
    "int for float": (3, float),
    "bool": (True, bool),
    "list": ([1, 2], list[int]),
    "bare list": ([1, "a"], list),
    "nested": ({"a": [{"b": None}]}, dict[str, Any]),
    "int keys": ({1: "a"}, dict[int, str]),
    "bool keys": ({True: 1}, dict[bool, int]),
    "mapping": ({"a": 1}, Mapping[str, int]),
    "tuple": ((1, "a"), tuple[int, str]),
    "tuple of many": ((1, 2, 3), tuple[int, ...]),
    "set": ({5}, set[int]),
    "frozenset": (frozenset({"x"}), frozenset[str]),
    "deque": (collections.deque([1, 2]), collections.deque[int]),
    "datetime": (MOMENT, datetime),
    "uuid": (uuid.UUID(int=7), uuid.UUID),
    "int enum": (Color.BLUE, Color),
    "str enum": (Size.S, Size),
    "literal": ("a", Literal["a", "b"]),
    "new type": (OrderId("x"), OrderId),
    "union": ("x", int | str),
    "typed dict": ({"street": "s", "number": 1}, Address),
    "dataclass": (ORDER, Order),
    "dataclass unhinted": (ORDER, None),
    "dataclass or none": (ORDER, Order | None),
    "list of dataclass": ([ORDER.items[0]], list[Item]),
    "struct": (struct(), Struct),
    "duration": (Duration(seconds=1, nanos=5), Duration),
}

# name → (a value whose JSON does not fit the hint, hint)
MISFITS: dict[str, tuple[Any, Any]] = {
    "text for int": ("a", int),
    "int for text": (1, str),
    "int for bool": (1, bool),
    "list for dict": ([1], dict[str, int]),
    "text for dataclass": ("x", Item),
    "missing field": ({"name": "a"}, Item),
    "wrong field": ({"name": "a", "price": "x"}, Item),
    "no literal": ("c", Literal["a", "b"]),
    "no union member": ([1], int | str),
    "too long": ([1, 2, 3], tuple[int, int]),
    "enum of another type": ("RED", Color),
    "unknown enum value": (9, Color),
    "no date": ("yesterday", datetime),
    "bad uuid": ("x", uuid.UUID),
    "wrong key": ({"a": 1}, dict[int, int]),
    "wrong item": (["a"], list[int]),
}


def errors(e: Any) -> dict[str, BaseException]:
    """One error of each kind, made with the exceptions module `e`."""
    activity = e.ActivityError(
        "activity failed",
        scheduled_event_id=5,
        started_event_id=6,
        identity="me",
        activity_type="Charge",
        activity_id="5",
        retry_state=e.RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    activity.__cause__ = e.ApplicationError("declined", {"code": 7}, "x", type="CardDeclined")
    child = e.ChildWorkflowError(
        "child failed",
        namespace="default",
        workflow_id="w",
        run_id="r",
        workflow_type="T",
        initiated_event_id=9,
        started_event_id=10,
        retry_state=None,
    )
    child.__cause__ = activity
    context = e.ApplicationError("second")
    context.__context__ = ValueError("first")
    suppressed = e.ApplicationError("second")
    suppressed.__context__ = ValueError("first")
    suppressed.__suppress_context__ = True
    return {
        "application": e.ApplicationError(
            "no",
            1,
            None,
            type="T",
            non_retryable=True,
            next_retry_delay=timedelta(seconds=1.5),
            category=e.ApplicationErrorCategory.BENIGN,
        ),
        "bare application": e.ApplicationError("no"),
        "foreign": KeyError("key"),
        "cancelled": e.CancelledError("stop", "why"),
        "bare cancelled": e.CancelledError(),
        "terminated": e.TerminatedError("gone"),
        "timeout": e.TimeoutError(
            "late", type=e.TimeoutType.HEARTBEAT, last_heartbeat_details=["half"]
        ),
        "untyped timeout": e.TimeoutError("late", type=None, last_heartbeat_details=[]),
        "server": e.ServerError("oops", non_retryable=True),
        "activity": activity,
        "child": child,
        "nexus": e.NexusOperationError(
            "nexus",
            scheduled_event_id=3,
            endpoint="e",
            service="s",
            operation="o",
            operation_token="t",
        ),
        "context": context,
        "suppressed": suppressed,
    }


_ATTRIBUTES = (
    "message", "type", "details", "non_retryable", "next_retry_delay", "category", "last_heartbeat_details",
    "scheduled_event_id", "started_event_id", "initiated_event_id", "identity", "activity_type", "activity_id",
    "retry_state", "namespace", "workflow_id", "run_id", "workflow_type", "endpoint", "service", "operation",
    "operation_token",
)  # fmt: skip


def describe(error: BaseException | None) -> Any:
    """Everything that a user can see of an error, as plain data."""
    if error is None:
        return None
    seen: dict[str, Any] = {"class": type(error).__name__, "str": str(error)}
    for name in _ATTRIBUTES:
        if hasattr(error, name):
            value = getattr(error, name)
            seen[name] = list(cast("tuple[Any]", value)) if isinstance(value, tuple) else value
    seen["cause"] = describe(error.__cause__)
    return repr(sorted(seen.items(), key=lambda pair: pair[0]))
