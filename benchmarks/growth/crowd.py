"""Fill a database with runs that have ended: `python -m benchmarks.growth.crowd FILE RUNS`.

They are written straight through the store port, in large batches: a few rows for each run, as if it had finished long
ago. One run in fifty is still open. Nothing of it is ever loaded; what matters is what lists and counts walk through.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from perdure.core.ids import ENTITY_BITS, run_key
from perdure.core.units import DAY_NS, MS_NS
from perdure.embedded import open_embedded
from perdure.entity.transition import EventRow, VisibilityRow
from perdure.server.common.namespace_facts import NAMESPACES
from perdure.storage.port import CommitBatch, EntityWrite, ShardLease, ShardWrite, Store
from perdure.storage.sqlite import open_sqlite

BATCH_RUNS = 5_000
OPEN_OF = 50
TYPES = 10
STATUSES = (2, 2, 2, 2, 2, 2, 3, 4, 5, 6)
EVENT_BYTES = 600


def run(namespace_id: str, shard_id: int, number: int, place: int, start_ns: int) -> EntityWrite:
    is_open = place % OPEN_OF == 0
    workflow_id, run_id = f"crowd-{place:09}", f"{place:032x}"
    shown = VisibilityRow(
        namespace_id=namespace_id,
        workflow_id=workflow_id,
        run_id=run_id,
        workflow_type=f"Type{place % TYPES}",
        task_queue="crowd",
        status=1 if is_open else STATUSES[place // TYPES % len(STATUSES)],
        start_ns=start_ns,
        execution_ns=start_ns,
        close_ns=0 if is_open else start_ns + 5 * MS_NS,
        history_length=11,
        history_size_bytes=EVENT_BYTES,
        memo=b"",
        search_attributes=b"",
    )
    return EntityWrite(
        number=(shard_id << ENTITY_BITS) | number,
        key=run_key(namespace_id, workflow_id, run_id),
        shard_id=shard_id,
        is_new=True,
        events=(EventRow(0, 1, 11, bytes(EVENT_BYTES)),),
        visibility=shown,
        delete_at_ns=None if is_open else start_ns + 365 * DAY_NS,
    )


async def fill(store: Store, namespace_id: str, runs: int) -> None:
    leases: list[ShardLease] = [await store.acquire(shard) for shard in range(store.shard_count)]
    last = [lease.last_entity for lease in leases]
    begin_ns = time.time_ns() - runs * MS_NS
    for batch, first in enumerate(range(0, runs, BATCH_RUNS)):
        turn, shard_id = divmod(batch, len(leases))
        places = range(first, min(first + BATCH_RUNS, runs))
        writes = tuple(
            run(namespace_id, shard_id, number, place, begin_ns + place * MS_NS)
            for number, place in enumerate(places, last[shard_id] + 1)
        )
        last[shard_id] += len(places)
        lease = leases[shard_id]
        fence = ShardWrite(
            shard_id=shard_id,
            range_id=lease.range_id,
            sequence=lease.sequence + turn,
            clock_ns=lease.clock_ns,
            last_entity=last[shard_id],
        )
        await store.commit(CommitBatch((fence,), writes))


async def main(path: str, runs: int) -> None:
    await (await open_embedded(f"sqlite:{path}")).close()  # makes the namespace
    store = await open_sqlite(Path(path))
    (namespace, *_) = await store.entities(NAMESPACES.number)
    await fill(store, namespace.namespace_id, runs)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
