"""Ending a run that leaves memory: coroutines are closed here and now, not by the garbage collector.

A suspended coroutine that is collected runs its `finally` blocks at any time, in any thread, perhaps inside
another workflow. So every task is closed in the run's own loop, youngest first, with commands disabled. A
coroutine that keeps awaiting is closed a few more times (`TaskGroup` needs two); after that it goes to the
graveyard, a bounded list that keeps it from being collected.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from perdure.worker.host.state import RunState

_log = logging.getLogger(__name__)

_ATTEMPTS = 8
MAX_GRAVEYARD = 1_000

graveyard: deque[object] = deque(maxlen=MAX_GRAVEYARD)
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
            coro = task.get_coro()
            if coro is not None:
                _close(coro, task)
        loop.close_async_generators()
    loop.forget_everything()


def _close(coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], task: asyncio.Task[Any]) -> None:
    for _ in range(_ATTEMPTS):
        try:
            coro.close()
        except RuntimeError as error:
            if "ignored GeneratorExit" not in str(error):
                _log.debug("Ignored while evicting %s", task.get_name(), exc_info=True)
                return
        except BaseException:
            _log.debug("Ignored while evicting %s", task.get_name(), exc_info=True)
            return
        else:
            return
    _log.warning(
        "%s refused to end when its run was evicted: it keeps awaiting in `finally` or swallows "
        "GeneratorExit. Let BaseException through",
        task.get_name(),
    )
    graveyard.append(coro)
