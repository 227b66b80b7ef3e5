"""The node: everything between an RPC and the store.

Role: shards (load → transition → commit), the committer, outbox, wake-ups, the frontends and their one table of RPCs,
interceptors, gRPC, and the wiring of all this. Decisions are made in the pure packages; this package does the I/O.

Invariants: after any `await` the cache is read again in the same synchronous step as the append; an outcome is released
only when the run's last batch is durable.
Not here: the SDK (client, worker, workflow, converter), which this package never imports.
"""
