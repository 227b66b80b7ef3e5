"""Makes messages at random from their descriptors: half plausible, so that they get far, half extreme.

A field is filled by its name when something of that name is known (an id, a token), and otherwise by its type. What is
known is learned from the responses to earlier requests.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.wire.api import command, enums, failure, update, workflowservice

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from google.protobuf.message import Message

FILLER = "Z"
"""Long texts consist of it, so that a message that repeats too much of one is noticed."""
DEPTH_MAX = 7
KNOWN_MAX = 12
"""The latest values of a name."""

_Type = FieldDescriptor

TEXTS = (
    "", "a", FILLER * 101, FILLER * 1_000, FILLER * 1_001, FILLER * 20_000, "\U0001f600" * 300, "漢字" * 700, "\x00",
    "a\nb\tc", "\x1b[31mred", "\u202eabc", "'", "\"'; DROP TABLE runs; --", "%s%n{}{0}", "/", "..", "__temporal",
    "/_sys/x", "ExecutionStatus = 'Running'", "StartTime > '0001-01-01T00:00:00Z' AND CloseTime < 99999999999999999999",
    "1e999", "WorkflowId IN ('a', 'b') OR (", "ExecutionStatus = 7777777777777777777777", "x = 'é",
    "GROUP BY ExecutionStatus",
    "CloseTime = '9999-12-31T23:59:59.999999999+23:59'", "null", "NaN", "-1", "00000000-0000-0000-0000-000000000000",
    "* * * * *", "@every 1s", "TemporalTimeout:StartToClose", "TemporalTimeout:", "json/plain", "Keyword",
)  # fmt: skip
BYTES = (
    b"", b"\x00", b"\xff\xfe", b"\x93\xa1w\xa1\xff", b"\x98\xa1w\xa0\xa0\xa0\xcf" + b"\xff" * 8, b"x" * 3_000, b"{}",
    b"\"text\"", b"[" * 500, b"1e400", b"NaN", b"\x91" * 300, b"\xc1", b"\xa5\xff\xff\xff\xff\xff", b"true", b"-0",
)  # fmt: skip
INT32 = (0, 1, -1, 2, 5, 7, 1_000, 1_001, 2**31 - 1, -(2**31))
TAME = (0, 0, 1, 2, 5)
INT64 = (*INT32, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 10**18)
FLOATS = (
    0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    1e-300,
    1e308,
    -1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)
SECONDS = (
    0,
    1,
    1,
    5,
    60,
    3_600,
    -1,
    86_400 * 365,
    10**9,
    315_576_000_000,
    -315_576_000_000,
    2**63 - 1,
    -(2**63),
)
NANOS = (0, 0, 0, 1, 999_999_999, -1, -999_999_999, 2**31 - 1, -(2**31))

SAME = {
    "first_execution_run_id": "run_id",
    "protocol_instance_id": "update_id",
    "sticky_task_queue": "task_queue",
    "normal_name": "task_queue",
    "workflow_namespace": "namespace",
    "id": "activity_id",
    "type": "ActivityType",
}
"""Fields whose values are those of another name."""
NEEDED = frozenset(
    (
        "task_queue",
        "workflow_execution",
        "execution",
        "update_ref",
        "name",
        "commands",
        "operations",
        "query",
        "request",
        "meta",
    )
)
NOT_SUPPORTED = frozenset(
    (
        "cron_schedule",
        "completion_callbacks",
        "versioning_override",
        "time_skipping_config",
        "is_global_namespace",
        "clusters",
        "active_cluster_name",
    )
)
"""Requests with these fields get no further."""
TOKENS = {
    "RespondQueryTaskCompletedRequest": "query",
    "RespondWorkflowTaskCompletedRequest": "workflow",
    "RespondWorkflowTaskFailedRequest": "workflow",
}
"""Whose task token a request has; that of an activity, if it is not here."""
_KIND_SUFFIX = "_command_attributes"


class Maker:
    """Makes messages.

    Args:
        random: The only source of chance.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self._extremes = 0.0
        """How likely a value of the current request is to be extreme."""
        self.known: defaultdict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=KNOWN_MAX))

    def learn(self, name: str, value: str | bytes) -> None:
        """Use a value for fields of this name from now on."""
        name = SAME.get(name, name)
        if value and value not in self.known[name]:
            self.known[name].append(value)

    def learn_from(self, message: Message) -> None:
        """Use the ids and tokens of a response."""
        for field, value in message.ListFields():
            if field.name == "task_token":
                self.learn(_kind_of_task(message), value)
            elif field.message_type is None:
                if field.name.endswith(("_id", "_token")) and isinstance(value, str | bytes):
                    self.learn(field.name, value)
            elif not field.message_type.GetOptions().map_entry:
                children = value if field.is_repeated else (value,)
                for child in children[:3] if field.is_repeated else children:
                    self.learn_from(child)

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    @property
    def _is_extreme(self) -> bool:
        return self.random.random() < self._extremes

    def request(self, kind: type[Message]) -> Message:
        """A request with few or most of its fields. Some requests are plausible, others hardly ever."""
        share = self.random.choice((0.05, 0.2, 0.4, 0.9))
        self._extremes = self.random.choice((0.0, 0.02, 0.1, 0.7))
        message = kind()
        self._fill(message, share, 0)
        return message

    def encoded(self, message: Message) -> bytes:
        """The encoding of a message, damaged in one of ten cases."""
        data = message.SerializeToString()
        return self._damaged(data) if self._is_extreme and self.one_in(4) else data

    def _damaged(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(damaged) + 1)
            match self.random.randrange(4):
                case 0:
                    damaged[at:at] = self.random.randbytes(self.random.randint(1, 8))
                case 1:
                    del damaged[at : at + self.random.randint(1, 8)]
                case 2:
                    damaged[at : at + 1] = bytes((self.random.randrange(256),))
                case _:
                    damaged += damaged[at : at + 200]
        return bytes(damaged)

    # ── messages ──────────────────────────────────────────────────────────────────────────────────

    def _fill(self, message: Message, share: float, depth: int) -> None:
        special = _SPECIAL.get(type(message))
        if special is not None:
            special(self, message)
            return
        descriptor = cast("Descriptor", message.DESCRIPTOR)
        chosen = {
            self.random.choice(choice.fields).name
            for choice in descriptor.oneofs
            if self.random.random() < 0.9
        }
        for field in descriptor.fields:
            if field.name in NOT_SUPPORTED:
                is_wanted = self._is_extreme
            elif field.containing_oneof is not None:
                is_wanted = field.name in chosen
            else:
                is_wanted = self.random.random() < max(share, self._need(field))
            if is_wanted and (field.message_type is None or depth < DEPTH_MAX):
                self._set(message, field, share, depth)
        if isinstance(message, command.Command):
            self._match_type(message)

    def _need(self, field: FieldDescriptor) -> float:
        """How likely a field is at least: handlers refuse requests that lack what they name."""
        if field.name in self.known or field.name in NEEDED:
            return 0.95
        return 0.8 if field.name.endswith(("_type", "_name")) else 0.0

    def _match_type(self, message: command.Command) -> None:
        attributes = message.WhichOneof("attributes")
        if attributes is None or self.one_in(20):
            return
        name = f"COMMAND_TYPE_{attributes.removesuffix(_KIND_SUFFIX).upper()}"
        if name in enums.CommandType.keys():  # noqa: SIM118 - not a dictionary
            message.command_type = enums.CommandType.Value(name)

    def _set(self, message: Message, field: FieldDescriptor, share: float, depth: int) -> None:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            self._set_map(message, field, share, depth)
        elif field.is_repeated:
            target = getattr(message, field.name)
            for _ in range(self.random.choice((0, 1, 1, 2, 3))):
                if kind is not None:
                    self._fill(target.add(), share, depth + 1)
                else:
                    target.append(self._scalar(field))
            if field.name == "operations" and not self.one_in(4):
                self._match_operations(message)
        elif kind is not None:
            child = getattr(message, field.name)
            child.SetInParent()
            self._fill(child, share, depth + 1)
        else:
            setattr(message, field.name, self._scalar(field))

    def _match_operations(self, message: Any) -> None:
        """What ExecuteMultiOperation expects."""
        del message.operations[:]
        start, updating = message.operations.add(), message.operations.add()
        self._fill(start.start_workflow, 0.2, 2)
        self._fill(updating.update_workflow, 0.3, 2)
        name = self._text("workflow_id")
        start.start_workflow.workflow_id = name
        updating.update_workflow.workflow_execution.workflow_id = name

    def _set_map(self, message: Message, field: FieldDescriptor, share: float, depth: int) -> None:
        entries: Any = getattr(message, field.name)
        key, value = (
            cast("Descriptor", field.message_type).fields_by_name[n] for n in ("key", "value")
        )
        for _ in range(self.random.randint(1, 3)):
            name = self._text(field.name) if key.type == _Type.TYPE_STRING else self._scalar(key)
            if value.message_type is not None:
                self._fill(entries[name], share, depth + 1)
            else:
                entries[name] = self._scalar(value)

    # ── values ────────────────────────────────────────────────────────────────────────────────────

    def _scalar(self, field: FieldDescriptor) -> Any:
        match field.type:
            case _Type.TYPE_STRING:
                name = field.name
                if name == "name" and field.containing_type is not None:
                    name = field.containing_type.name
                return self._text(name)
            case _Type.TYPE_BYTES:
                assert field.containing_type is not None
                name = field.name
                if name == "task_token":
                    name = TOKENS.get(field.containing_type.name, "activity")
                return self._bytes(name)
            case _Type.TYPE_BOOL:
                return self.one_in(2)
            case _Type.TYPE_ENUM:
                return self._enum(field)
            case _Type.TYPE_DOUBLE | _Type.TYPE_FLOAT:
                value = self.random.choice(FLOATS) if self._is_extreme else 1.5
                return (
                    struct.unpack("f", struct.pack("f", max(min(value, 3e38), -3e38)))[0]
                    if (field.type == _Type.TYPE_FLOAT and abs(value) < float("inf"))
                    else value
                )
            case _Type.TYPE_INT64 | _Type.TYPE_SINT64 | _Type.TYPE_SFIXED64:
                return self.random.choice(INT64 if self._is_extreme else TAME)
            case _Type.TYPE_UINT32 | _Type.TYPE_FIXED32 | _Type.TYPE_UINT64 | _Type.TYPE_FIXED64:
                return abs(self.random.choice(INT32 if self._is_extreme else TAME))
            case _:
                return self.random.choice(INT32 if self._is_extreme else TAME)

    def _enum(self, field: FieldDescriptor) -> int:
        if self._is_extreme and self.one_in(2):
            return self.random.choice((-1, 99, 2**31 - 1, -(2**31)))
        assert field.enum_type is not None
        return self.random.choice(field.enum_type.values).number

    def _text(self, name: str) -> str:
        values = self.known.get(SAME.get(name, name))
        is_extreme = self._is_extreme
        if name == "workflow_id" and not is_extreme and self.one_in(3):
            return f"x{self.random.randrange(60)}"
        if values and not is_extreme:
            return str(self.random.choice(values))
        if not is_extreme and name.endswith("run_id"):
            return ""
        if not is_extreme:
            return f"{name[:20]}-{self.random.randrange(4)}"
        return self.random.choice(TEXTS)

    def _bytes(self, name: str) -> bytes:
        values = self.known.get(name)
        is_extreme = self._is_extreme
        if not values and not is_extreme:
            return b"" if name.endswith(("token", *TOKENS.values(), "activity")) else b"json/plain"
        if not values or (is_extreme and self.one_in(2)):
            return self.random.choice((*BYTES, self.random.randbytes(20)))
        value = self.random.choice(values)
        return self._damaged(value) if is_extreme else value

    def _duration(self, message: Any) -> None:
        message.seconds = self.random.choice(SECONDS if self._is_extreme else (1, 5, 60))
        if self._is_extreme:
            message.nanos = self.random.choice(NANOS)

    def _any(self, message: AnyMessage) -> None:
        kind = self.random.choice(
            (update.Request, update.Acceptance, update.Rejection, update.Response)
        )
        body = kind()
        self._fill(body, 0.6, 3)
        message.Pack(body)
        if self._is_extreme:
            message.type_url = self.random.choice(
                (
                    "",
                    "/",
                    "x",
                    "type.googleapis.com/nobody.Knows",
                    "type.googleapis.com/" + FILLER * 300,
                )
            )
        if self._is_extreme:
            message.value = self._damaged(message.value)

    def _failure(self, message: failure.Failure) -> None:
        level, count = message, self.random.choice((1, 1, 2, 3)) if not self._is_extreme else 60
        for _ in range(count):
            descriptor = failure.Failure.DESCRIPTOR
            chosen = self.random.choice(descriptor.oneofs_by_name["failure_info"].fields)
            kind = cast("Descriptor", chosen.message_type)
            info = GetMessageClass(kind)()
            if count < 10:
                self._fill(info, 0.4, DEPTH_MAX - 2)
            getattr(level, chosen.name).CopyFrom(info)
            level.message = self._text("message")
            level.stack_trace = self._text("stack_trace")
            level = level.cause


def _kind_of_task(message: Message) -> str:
    if isinstance(message, workflowservice.PollWorkflowTaskQueueResponse):
        return "query" if message.HasField("query") else "workflow"
    return "activity"


_SPECIAL: dict[type[Message], Callable[[Maker, Any], None]] = {
    Duration: Maker._duration,
    Timestamp: Maker._duration,
    AnyMessage: Maker._any,
    failure.Failure: Maker._failure,
}
