"""Attempts that died with the process that ran them (D-34): handled as timed out at once, when a node opens.

Only for engines whose workers live in their own process; a server's workers outlive it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from perdure.wire.errors import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from perdure.core.ids import EntityKey
    from perdure.storage.port import Store

log = logging.getLogger(__name__)

TOGETHER_MAX = 100
"""Runs loaded and changed at a time: they share commits."""


async def void_attempts(
    store: Store,
    shard_ids: Sequence[int],
    void: Callable[[EntityKey], Coroutine[Any, Any, object]],
) -> None:
    """Void what was running; a run that cannot be changed keeps its attempts until they time out.

    Args:
        store: Knows of which runs a worker holds something; no others are loaded.
        shard_ids: Of this node.
        void: Voids the started attempts of one run, durably.
    """
    keys = await store.held(shard_ids)
    for start in range(0, len(keys), TOGETHER_MAX):
        some = keys[start : start + TOGETHER_MAX]
        results = await asyncio.gather(*(void(key) for key in some), return_exceptions=True)
        for key, result in zip(some, results, strict=True):
            if isinstance(result, RpcError):
                log.warning("attempts of %s wait for their time-outs: %s", key.name, result.message)
            elif isinstance(result, BaseException):
                raise result
