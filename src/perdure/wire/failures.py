"""Failures within bounds: a chain of causes that every peer can parse, and texts that fit into messages.

Parsers of messages give up at about a hundred levels (protobuf's default in most languages), and a failure is wrapped
again in commands, events, histories and responses, and in another failure at each hop. A chain that is longer than
`LEVELS_MAX` keeps its first levels and its last one, the root cause; a marker stands for those between them.

Invariants: what `bound` leaves fits; applied again, it changes nothing. Not here: payloads (limits of blobs).
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from perdure.wire.api import failure as failure_pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

LEVELS_MAX = 50
"""Of a failure: itself and its causes."""
TEXTS_BYTES_MAX = 1024 * 1024
"""Larger failures have their messages and stack traces shortened."""
TEXTS_CHARACTERS_MAX = 100_000
"""Of all messages then, and of all stack traces; each level has the same share."""
MARKER_TYPE = "CausesLeftOut"
HEAD_LEVELS_MAX = 21
"""The levels in the head of a failure that is too large, as on the reference server."""
_TAG_BYTES = 4
"""Roughly what a field takes in addition to its content."""

_FAILURE = failure_pb.Failure.DESCRIPTOR


class _Shape(Enum):
    ONE = 1
    LIST = 2
    MAP = 3
    CHOICE = 4


class _Place(NamedTuple):
    """A field of a message, or a choice between fields of which those in `only` matter."""

    name: str
    shape: _Shape
    only: frozenset[str]


def valid_text(value: object) -> str:
    """`str(value)` as a message can hold it: halves of surrogate pairs, as in names of files, are spelled out."""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def marker() -> failure_pb.Failure:
    """What stands for the causes that are left out."""
    return failure_pb.Failure(
        message=f"Causes are left out here: a failure has at most {LEVELS_MAX} levels",
        source="Perdure",
        application_failure_info=failure_pb.ApplicationFailureInfo(type=MARKER_TYPE),
    )


def bound(failure: failure_pb.Failure) -> failure_pb.Failure:
    """Cut what is too much of a failure, in place; for what is about to be sent. Returns the failure."""
    cut_causes(failure)
    if failure.ByteSize() > TEXTS_BYTES_MAX:
        levels = list(_levels(failure))
        share = TEXTS_CHARACTERS_MAX // len(levels)
        for level in levels:
            level.message = shortened(level.message, share)
            level.stack_trace = shortened(level.stack_trace, share)
    return failure


def head(
    failure: failure_pb.Failure, bytes_max: int, levels_max: int = HEAD_LEVELS_MAX
) -> failure_pb.Failure:
    """The head of a failure that is too large: a copy of its type, texts and causes, as far as they fit.

    Space is given in this order: the type, source, message and stack trace of a level, then its cause. Payloads and all
    other kinds of information are left out. The reference server cuts failures in the same way.

    Args:
        failure: The failure, which is not changed.
        bytes_max: The limit for all texts together.
        levels_max: How many levels are kept. Deeper causes are left out.
    """
    result = failure_pb.Failure()
    room = bytes_max
    match failure.WhichOneof("failure_info"):
        case "application_failure_info":
            given = failure.application_failure_info
            result.application_failure_info.type = _beginning(given.type, room)
            result.application_failure_info.non_retryable = given.non_retryable
            room -= 2 * _TAG_BYTES + _size_bytes(result.application_failure_info.type)
        case "server_failure_info":
            given = failure.server_failure_info
            result.server_failure_info.non_retryable = given.non_retryable
            room -= _TAG_BYTES
        case _:
            pass
    result.source = _beginning(failure.source, room)
    room -= _size_bytes(result.source)
    result.message = _beginning(failure.message, room)
    room -= _size_bytes(result.message)
    result.stack_trace = _beginning(failure.stack_trace, room)
    room -= _size_bytes(result.stack_trace) + _TAG_BYTES
    if failure.HasField("cause") and room > 0 and levels_max > 1:
        result.cause.CopyFrom(head(failure.cause, room, levels_max - 1))
    return result


def too_large(message: str) -> failure_pb.Failure:
    """The failure that the server records instead of a value that is too large.

    Args:
        message: The reference server's wording, because users search for it.
    """
    info = failure_pb.ServerFailureInfo(non_retryable=True)
    return failure_pb.Failure(message=message, server_failure_info=info)


def headed(failure: failure_pb.Failure, bytes_max: int) -> failure_pb.Failure:
    """The failure that the server records instead of one that is too large, with the head of that as its cause."""
    result = too_large("Failure exceeds size limit.")
    result.cause.CopyFrom(head(failure, bytes_max))
    return result


def _beginning(text: str, bytes_max: int) -> str:
    """As much of a text as fits, without an incomplete character at its end."""
    return text.encode()[: max(0, bytes_max)].decode(errors="ignore")


def _size_bytes(text: str) -> int:
    return len(text.encode()) + _TAG_BYTES if text else 0


def is_too_deep(failure: failure_pb.Failure, levels_max: int = LEVELS_MAX) -> bool:
    """Whether a failure has more levels than are kept."""
    levels = 1
    while failure.HasField("cause"):
        if levels == levels_max:
            return True
        failure, levels = failure.cause, levels + 1
    return False


def cut_causes(failure: failure_pb.Failure) -> None:
    """Leave `LEVELS_MAX` levels of a failure, in place."""
    if not is_too_deep(failure):
        return
    levels = list(_levels(failure))
    root, last_kept = failure_pb.Failure(), levels[LEVELS_MAX - 3]
    root.CopyFrom(levels[-1])
    stands_in = marker()
    stands_in.cause.CopyFrom(root)
    last_kept.cause.CopyFrom(stands_in)


def with_bounded_failures(message: Message, *, is_own: bool = False) -> Message:
    """The message with all its failures cut to the levels that are kept: itself when there is nothing to cut.

    Failures within an `Any` are not looked at: those who open it do that.

    Args:
        message: Any message of the API.
        is_own: Whether it may be changed; otherwise a copy is.
    """
    places = _places(type(message))
    if not places:
        return message
    for failure in _found(message, places):
        if is_too_deep(failure):
            break
    else:
        return message
    if not is_own:
        copy = type(message)()
        copy.CopyFrom(message)
        message = copy
    for failure in failures_below(message):
        cut_causes(failure)
    return message


def failures_below(message: Message) -> Iterable[failure_pb.Failure]:
    """The failures that a message holds, without their causes."""
    places = _places(type(message))
    return _found(message, places) if places else ()


def _found(message: Message, places: tuple[_Place, ...]) -> Iterator[failure_pb.Failure]:
    child: Message
    children: Any
    for name, shape, only in places:
        if shape is _Shape.CHOICE:
            # One look, however many fields exclude each other: completions have many commands.
            chosen = message.WhichOneof(name)
            if chosen is None or chosen not in only:
                continue
            children = (getattr(message, chosen),)
        elif shape is _Shape.ONE:
            if not message.HasField(name):
                continue
            children = (getattr(message, name),)
        else:
            children = getattr(message, name)
            if not children:
                continue
            if shape is _Shape.MAP:
                # Not `values()`: its view costs more than the rest, and most maps are empty.
                children = [children[key] for key in children]
        for child in children:
            if isinstance(child, failure_pb.Failure):
                yield child
            elif below := _places(type(child)):
                yield from _found(child, below)


def _levels(failure: failure_pb.Failure) -> Iterator[failure_pb.Failure]:
    yield failure
    while failure.HasField("cause"):
        failure = failure.cause
        yield failure


def shortened(text: str, characters_max: int) -> str:
    """The beginning and the end of a text, with a note in place of what is between them."""
    if len(text) <= characters_max:
        return text
    half = characters_max // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters are left out …\n{text[-half:]}"


@cache
def _places(kind: type[Message]) -> tuple[_Place, ...]:
    """Where failures may be in messages of a class."""
    found: dict[str, _Place] = {}
    descriptor = cast("Descriptor", kind.DESCRIPTOR)
    for field in descriptor.fields:
        if not _may_hold_failure(_value_type(field), frozenset({descriptor.full_name})):
            continue
        choice, name = field.containing_oneof, field.name
        if choice is None:
            found[name] = _Place(name, _shape(field), frozenset())
        else:
            others = found[choice.name].only if choice.name in found else frozenset[str]()
            found[choice.name] = _Place(choice.name, _Shape.CHOICE, others | {name})
    return tuple(found.values())


def _may_hold_failure(descriptor: Descriptor | None, seen: frozenset[str]) -> bool:
    if descriptor is None or descriptor.full_name in seen:
        return False
    if descriptor is _FAILURE:
        return True
    seen |= {descriptor.full_name}
    return any(_may_hold_failure(_value_type(field), seen) for field in descriptor.fields)


def _shape(field: FieldDescriptor) -> _Shape:
    if _is_map(field.message_type):
        return _Shape.MAP
    return _Shape.LIST if field.is_repeated else _Shape.ONE


def _is_map(kind: Descriptor | None) -> bool:
    return kind is not None and kind.GetOptions().map_entry


def _value_type(field: FieldDescriptor) -> Descriptor | None:
    kind = field.message_type
    if kind is not None and _is_map(kind):
        return kind.fields_by_name["value"].message_type
    return kind
