"""Tears down a run that leaves memory: its coroutines are closed at once, not by the garbage collector.

If the garbage collector closed a suspended coroutine, its `finally` blocks would run at any time and in any thread,
possibly inside another workflow. So every task is ended in the run's own loop, youngest first, with commands disabled,
by throwing an exception into it. If a coroutine awaits again, the exception is thrown a few more times (`TaskGroup`
needs two). After that the coroutine is added to the graveyard, which keeps it from being collected, even at interpreter
exit: collecting `while True: try: await … except: pass` would run that loop endlessly and hang the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.capi import keep_for_ever
from perdure.core.user_code import quiet_logger
from perdure.worker.host.state import RunEvicted

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from perdure.worker.host.state import RunState

_log = quiet_logger(__name__)

_ATTEMPTS = 8

graveyard: list[object] = []
"""Coroutines that refused to end. Their number is a metric: each is a leak in user code."""


def tear_down(state: RunState) -> None:
    """Close all coroutines of a run. Never raises; a second call does nothing."""
    if state.closing:
        return
    state.closing = True
    # Logs and metrics that are suppressed during replay are suppressed here as well.
    state.is_replaying = True
    loop = state.loop
    with loop.running():
        for task in reversed(loop.tasks):
            _close(task.get_coro(), task.get_name())
        loop.close_async_generators()
    loop.forget_everything()
    state.release()


def _close(coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], name: str) -> None:
    # Not close(): on a coroutine that awaits again, close() ends the outer frames and leaves the inner
    # ones behind. An exception that is thrown travels through the whole chain, as often as needed.
    for _ in range(_ATTEMPTS):
        try:
            coro.throw(RunEvicted("the run is being evicted"))
        except (StopIteration, RunEvicted):
            return
        except BaseException:  # errors of user code must not stop the teardown  # noqa: BLE001
            _log.debug("Ignored while evicting %s", name, exc_info=True)
            return
    _log.warning(
        "%s refused to end when its run was evicted: it awaits in `finally` again and again, or swallows "
        "BaseException. Let BaseException through",
        name,
    )
    graveyard.append(coro)
    # Modules, and with them the list, are cleared at interpreter exit.
    keep_for_ever(coro)
