"""The server node: everything between an RPC and the store.

Role: the I/O around the pure packages. Its rooms, from the lowest up: `common` and `pending`, `owners` (messages
between those who own shards and task queues), `matching` and `admin`, `shards` (load, step, commit, release), `timers`,
`engine`, `runs` and `tasks`, `frontend` with the one table of RPCs and `deliveries`, `transport`, `node`,
`time_skipping`.

Invariants: after any `await` the cache is read again in the same synchronous step as the append; an outcome is released
only when the run's last batch is durable.
Not here: the SDK (client, worker, workflow, converter), which this package never imports.
"""
