"""Shards: load an entity, change it in one synchronous step, commit the batch, then release the results.

Role: the cache, loading, steps, groups of transitions, the committer, the release of tasks and replies, wake-ups, the
outbox, and which shards this node owns.

Invariants: after an `await` the cache is read again in the same synchronous step as the append; nothing is released
before its batch is durable.
Not here: rules of workflow runs (`perdure.history`), RPCs, task queues.
"""
