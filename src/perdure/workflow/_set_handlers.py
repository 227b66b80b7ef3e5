"""Handlers looked up and set while the workflow runs. None as the handler removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.workflow import _runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[..., Any]


def get_signal_handler(name: str) -> Handler | None:
    """The handler of the signal `name`, bound to the workflow object; None without one."""
    return _runtime.current().signal_handler(name)


def set_signal_handler(name: str, handler: Handler | None) -> None:
    """Handle the signal `name`; signals that waited for a handler are delivered at once, in order."""
    _runtime.current().set_signal_handler(name, handler)


def get_dynamic_signal_handler() -> Handler | None:
    """The handler of signals without one of their own."""
    return _runtime.current().signal_handler(None)


def set_dynamic_signal_handler(handler: Handler | None) -> None:
    """Handle signals without a handler of their own; those that waited are delivered at once."""
    _runtime.current().set_signal_handler(None, handler)


def get_query_handler(name: str) -> Handler | None:
    """The handler of the query `name`, bound to the workflow object; None without one."""
    return _runtime.current().query_handler(name)


def set_query_handler(name: str, handler: Handler | None) -> None:
    """Answer the query `name`."""
    _runtime.current().set_query_handler(name, handler)


def get_dynamic_query_handler() -> Handler | None:
    """The handler of queries without one of their own."""
    return _runtime.current().query_handler(None)


def set_dynamic_query_handler(handler: Handler | None) -> None:
    """Answer queries without a handler of their own."""
    _runtime.current().set_query_handler(None, handler)


def get_update_handler(name: str) -> Handler | None:
    """The handler of the update `name`, bound to the workflow object; None without one."""
    return _runtime.current().update_handler(name)


def set_update_handler(
    name: str, handler: Handler | None, *, validator: Handler | None = None
) -> None:
    """Handle the update `name`; `validator` raises to reject one before it is recorded."""
    _runtime.current().set_update_handler(name, handler, validator)


def get_dynamic_update_handler() -> Handler | None:
    """The handler of updates without one of their own."""
    return _runtime.current().update_handler(None)


def set_dynamic_update_handler(
    handler: Handler | None, *, validator: Handler | None = None
) -> None:
    """Handle updates without a handler of their own."""
    _runtime.current().set_update_handler(None, handler, validator)
