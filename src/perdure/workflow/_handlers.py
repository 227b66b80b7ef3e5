"""Signal, query and update handlers: the decorators.

Not here: what they leave on the functions (`_handler_definitions`), running handlers
(`perdure.worker.host.handlers`).
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, overload, runtime_checkable

from perdure.types import (
    CallableSyncOrAsyncReturnNoneType,
    CallableType,
    MultiParamSpec,
    ProtocolReturnType,
    ReturnType,
)
from perdure.workflow._callables import is_async, name_of
from perdure.workflow._handler_definitions import (
    QUERY_MARK,
    SIGNAL_MARK,
    HandlerUnfinishedPolicy,
    QueryDefinition,
    SignalDefinition,
    UpdateDefinition,
)


def _check_choice(name: str | None, dynamic: bool | None) -> None:
    if name is not None and dynamic:
        message = "Cannot provide name and dynamic boolean"
        raise RuntimeError(message)


def warn_vararg(kind: str, *, stacklevel: int) -> None:
    """The warning for dynamic handlers in the old form."""
    warnings.warn(
        f"Dynamic {kind} with vararg third param is deprecated, use Sequence[RawValue]",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def warn_async_query(*, stacklevel: int) -> None:
    """The warning for queries that are async."""
    warnings.warn(
        "Queries as async def functions are deprecated",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


_WARN = HandlerUnfinishedPolicy.WARN_AND_ABANDON


@overload
def signal(fn: CallableSyncOrAsyncReturnNoneType) -> CallableSyncOrAsyncReturnNoneType: ...
@overload
def signal(
    *, unfinished_policy: HandlerUnfinishedPolicy = _WARN, description: str | None = None
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...
@overload
def signal(
    *,
    name: str,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...
@overload
def signal(
    *,
    dynamic: Literal[True],
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...
def signal(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Any:
    """Decorate a method, sync or async, that handles a signal.

    Args:
        fn: The method, when used without parentheses.
        name: The signal's name; the method's by default.
        dynamic: Handle every signal without a handler of its own; the method takes `self`, the name
            and a `Sequence[RawValue]`.
        unfinished_policy: What to do when the workflow closes while the handler runs.
        description: One line for UI and command line.
    """
    _check_choice(name, dynamic)

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        definition = SignalDefinition(
            name=None if dynamic else name or name_of(method),
            fn=method,
            is_method=True,
            description=description,
            unfinished_policy=unfinished_policy,
        )
        setattr(method, SIGNAL_MARK, definition)
        if definition.dynamic_vararg:
            warn_vararg("signals", stacklevel=2)
        return method

    return decorate if fn is None else decorate(fn)


@overload
def query(fn: CallableType) -> CallableType: ...
@overload
def query(
    *, name: str, description: str | None = None
) -> Callable[[CallableType], CallableType]: ...
@overload
def query(
    *, dynamic: Literal[True], description: str | None = None
) -> Callable[[CallableType], CallableType]: ...
@overload
def query(*, description: str) -> Callable[[CallableType], CallableType]: ...
def query(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    description: str | None = None,
) -> Any:
    """Decorate a plain method that answers a query. It must not change the workflow.

    Args:
        fn: The method, when used without parentheses.
        name: The query's name; the method's by default.
        dynamic: Answer every query without a handler of its own; the method takes `self`, the name
            and a `Sequence[RawValue]`.
        description: One line for UI and command line.
    """
    _check_choice(name, dynamic)
    if fn is None and name is None and not dynamic and not description:
        message = "Cannot create query without function or name or dynamic"
        raise RuntimeError(message)

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        if is_async(method):
            warn_async_query(stacklevel=2)
        definition = QueryDefinition(
            name=None if dynamic else name or name_of(method),
            fn=method,
            is_method=True,
            description=description,
        )
        setattr(method, QUERY_MARK, definition)
        if definition.dynamic_vararg:
            warn_vararg("queries", stacklevel=2)
        return method

    return decorate if fn is None else decorate(fn)


@runtime_checkable
class UpdateMethodMultiParam(Protocol[MultiParamSpec, ProtocolReturnType]):
    """What `@workflow.update` returns: the method, with `.validator` to decorate its validator."""

    _defn: UpdateDefinition

    def __call__(
        self, *args: MultiParamSpec.args, **kwargs: MultiParamSpec.kwargs
    ) -> ProtocolReturnType | Awaitable[ProtocolReturnType]: ...

    def validator(self, vfunc: Callable[MultiParamSpec, None]) -> Callable[MultiParamSpec, None]:
        """Decorate a plain method that raises when the update must be rejected."""
        ...


@overload
def update(
    fn: Callable[MultiParamSpec, Awaitable[ReturnType]],
) -> UpdateMethodMultiParam[MultiParamSpec, ReturnType]: ...
@overload
def update(
    fn: Callable[MultiParamSpec, ReturnType],
) -> UpdateMethodMultiParam[MultiParamSpec, ReturnType]: ...
@overload
def update(
    *, unfinished_policy: HandlerUnfinishedPolicy = _WARN, description: str | None = None
) -> Callable[
    [Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]
]: ...
@overload
def update(
    *,
    name: str,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[
    [Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]
]: ...
@overload
def update(
    *,
    dynamic: Literal[True],
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[
    [Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]
]: ...
def update(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Any:
    """Decorate a method, sync or async, that handles an update and returns its result.

    A validator may be attached: `@that_method.validator` on a plain method with the same parameters
    that raises to reject the update, before anything is recorded.

    Args:
        fn: The method, when used without parentheses.
        name: The update's name; the method's by default.
        dynamic: Handle every update without a handler of its own; the method takes `self`, the name
            and a `Sequence[RawValue]`.
        unfinished_policy: What to do when the workflow closes while the handler runs.
        description: One line for UI and command line.
    """
    _check_choice(name, dynamic)

    def decorate(method: Any) -> Any:
        definition = UpdateDefinition(
            name=None if dynamic else name or name_of(method),
            fn=method,
            is_method=True,
            description=description,
            unfinished_policy=unfinished_policy,
        )

        def validator(validate: Callable[..., None]) -> Callable[..., None]:
            definition.set_validator(validate)
            return validate

        setattr(method, "_defn", definition)  # the official name, read by protocols  # noqa: B010
        method.validator = validator
        return method

    return decorate if fn is None else decorate(fn)
