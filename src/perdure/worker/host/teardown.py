"""Ending a run that leaves memory: coroutines are closed here and now, not by the garbage collector.

A suspended coroutine that is collected runs its `finally` blocks at any time, in any thread, perhaps inside
another workflow. So every task is ended in the run's own loop, youngest first, with commands disabled, by an
exception thrown into it. A coroutine that awaits again gets it a few more times (`TaskGroup` needs two); after
that it goes to the graveyard, which keeps it from ever being collected, at interpreter exit too: collecting
`while True: try: await … except: pass` runs that loop forever, and would hang the process.
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
    # Code that is silent during replay (logs, metrics) is silent here as well.
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
        except BaseException:  # user code, which must not stop the teardown  # noqa: BLE001
            _log.debug("Ignored while evicting %s", name, exc_info=True)
            return
    _log.warning(
        "%s refused to end when its run was evicted: it awaits in `finally` again and again, or swallows "
        "BaseException. Let BaseException through",
        name,
    )
    graveyard.append(coro)
    # Modules, and so the list, are cleared at interpreter exit.
    keep_for_ever(coro)
