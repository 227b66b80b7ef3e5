"""Handlers that are looked up and set while the workflow runs. Setting None removes a handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.workflow import _runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[..., Any]


def get_signal_handler(name: str) -> Handler | None:
    """The handler of a signal, bound to the workflow object; None if there is none.

    Args:
        name: The signal's name.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().signal_handler(name)


def set_signal_handler(name: str, handler: Handler | None) -> None:
    """Set the handler of a signal. Signals that were waiting for it are delivered at once, in order.

    Args:
        name: The signal's name.
        handler: A function of the signal's arguments, which may be async; None removes the handler.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().set_signal_handler(name, handler)


def get_dynamic_signal_handler() -> Handler | None:
    """The handler of signals that have none of their own; None if there is none.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().signal_handler(None)


def set_dynamic_signal_handler(handler: Handler | None) -> None:
    """Set the handler of signals that have none of their own. Signals that were waiting for one are delivered at once.

    Args:
        handler: A function of the name and a `Sequence[RawValue]`, which may be async; None removes the handler.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().set_signal_handler(None, handler)


def get_query_handler(name: str) -> Handler | None:
    """The handler of a query, bound to the workflow object; None if there is none.

    Args:
        name: The query's name.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().query_handler(name)


def set_query_handler(name: str, handler: Handler | None) -> None:
    """Set the handler of a query.

    Args:
        name: The query's name.
        handler: A function of the query's arguments; None removes the handler.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().set_query_handler(name, handler)


def get_dynamic_query_handler() -> Handler | None:
    """The handler of queries that have none of their own; None if there is none.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().query_handler(None)


def set_dynamic_query_handler(handler: Handler | None) -> None:
    """Set the handler of queries that have none of their own.

    Args:
        handler: A function of the name and a `Sequence[RawValue]`; None removes the handler.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().set_query_handler(None, handler)


def get_update_handler(name: str) -> Handler | None:
    """The handler of an update, bound to the workflow object; None if there is none.

    Args:
        name: The update's name.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().update_handler(name)


def set_update_handler(
    name: str, handler: Handler | None, *, validator: Handler | None = None
) -> None:
    """Set the handler of an update.

    Args:
        name: The update's name.
        handler: A function of the update's arguments, which may be async; None removes the handler.
        validator: A function of the same arguments that raises to reject the update before it is recorded.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().set_update_handler(name, handler, validator)


def get_dynamic_update_handler() -> Handler | None:
    """The handler of updates that have none of their own; None if there is none.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    return _runtime.current().update_handler(None)


def set_dynamic_update_handler(
    handler: Handler | None, *, validator: Handler | None = None
) -> None:
    """Set the handler of updates that have none of their own.

    Args:
        handler: A function of the name and a `Sequence[RawValue]`, which may be async; None removes the handler.
        validator: A function of the same arguments that raises to reject the update before it is recorded.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
    _runtime.current().set_update_handler(None, handler, validator)
