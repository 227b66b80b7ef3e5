"""The failure of an exception: its text, and for an exception group also its members.

A failure has one message and one cause, but a group has any number of members. The message names each of them. The
cause is the first member that is not merely a cancellation, because a `TaskGroup` cancels the others. The stack trace
has all members, as Python prints them.

Not here: the rest of the conversion (`failure`).
"""

from __future__ import annotations

import traceback
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeGuard

from perdure.exceptions import ApplicationError, ApplicationErrorCategory, is_cancelled_exception

if TYPE_CHECKING:
    from collections.abc import Generator

MEMBERS_MAX = 20
"""Members of a group that its message names; the others are counted."""

CAUSES_MAX = 4
"""Of each member, in the group's message."""


def is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[Any]]:
    """Whether an exception is a group; a type guard, since groups have a type parameter."""
    return isinstance(error, BaseExceptionGroup)


def text_of(error: BaseException) -> str:
    """`str(error)`, which is user code and may raise."""
    try:
        return str(error)
    except Exception as inner:  # noqa: BLE001 - user code
        return f"<str() of {type(error).__name__} raised {type(inner).__name__}>"


def leaves(error: BaseException) -> Generator[BaseException]:
    """The exceptions that are no groups, of a group and the groups in it, in order; of any other exception itself."""
    waiting = [error]
    while waiting:
        first = waiting.pop()
        if is_group(first):
            waiting.extend(reversed(first.exceptions))
        else:
            yield first


def application_error(error: BaseException) -> ApplicationError:
    """The failure that stands for an exception of no known kind. Traceback and cause are taken over."""
    if not is_group(error):
        made = ApplicationError(text_of(error), type=type(error).__name__)
        made.__cause__ = error.__cause__
    else:
        members = list(leaves(error))
        made = ApplicationError(
            _message(error, members),
            type=type(error).__name__,
            non_retryable=any(_said(each, "non_retryable") for each in members),
            next_retry_delay=_longest_delay(members),
            category=_category(members),
        )
        real = (each for each in members if not is_cancelled_exception(each))
        made.__cause__ = error.__cause__ or next(real, members[0])
    made.__traceback__ = error.__traceback__
    return made


def stack_trace(group: BaseException) -> str:
    """Where a group and its members were raised."""
    return "".join(traceback.format_exception(group))


def _message(error: BaseException, members: list[BaseException]) -> str:
    named = [_with_causes(each) for each in islice(members, MEMBERS_MAX)]
    if len(members) > MEMBERS_MAX:
        named.append(f"and {len(members) - MEMBERS_MAX} more")
    return f"{text_of(error)}: {'; '.join(named)}"


def _with_causes(error: BaseException) -> str:
    texts: list[str] = []
    each: BaseException | None = error
    while each is not None and len(texts) <= CAUSES_MAX:
        if isinstance(each, ApplicationError):
            texts.append(f"{each.type or type(each).__name__}: {each.message}")
        else:
            texts.append(f"{type(each).__name__}: {text_of(each)}")
        each = each.__cause__
    return ", caused by ".join(texts)


def _said(error: BaseException, name: str) -> Any:
    return getattr(error, name) if isinstance(error, ApplicationError) else None


def _longest_delay(members: list[BaseException]) -> timedelta | None:
    return max(
        (delay for each in members if (delay := _said(each, "next_retry_delay"))), default=None
    )


def _category(members: list[BaseException]) -> ApplicationErrorCategory:
    benign = ApplicationErrorCategory.BENIGN
    are_benign = all(_said(each, "category") is benign for each in members)
    return benign if are_benign else ApplicationErrorCategory.UNSPECIFIED
