"""Times out, when a node opens, the activity attempts that died with the previous process (D-34).

Only for engines whose workers run in the same process; the workers of a server outlive it.
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
"""How many runs are loaded and changed at a time, so that they share commits."""


async def time_out_orphans(
    store: Store,
    shard_ids: Sequence[int],
    time_out: Callable[[EntityKey], Coroutine[Any, Any, object]],
) -> None:
    """Time out the attempts of dead workers. Those of a run that cannot be changed wait for their own time-outs.

    Args:
        store: Lists the runs with a task in flight; no others are loaded.
        shard_ids: The shards of this node.
        time_out: Times out the orphans of one run, durably.
    """
    keys = await store.with_tasks_in_flight(shard_ids)
    for start in range(0, len(keys), TOGETHER_MAX):
        some = keys[start : start + TOGETHER_MAX]
        results = await asyncio.gather(*(time_out(key) for key in some), return_exceptions=True)
        for key, result in zip(some, results, strict=True):
            if isinstance(result, RpcError):
                log.warning("attempts of %s wait for their time-outs: %s", key.name, result.message)
            elif isinstance(result, BaseException):
                raise result
