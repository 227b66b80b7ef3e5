"""The worker's half of durable execution: history in, activations out, commands in, completion out.

Role: splits a history into workflow tasks, runs the state machines behind commands, matches commands with the events
that record them, and handles flags, patches and nondeterminism as data.

Invariants:

* Sans-I/O: no clock, randomness, threads, sockets or asyncio. The caller fetches pages and runs code.
* Bad data of users or servers raises no exception: the outcome is a `Mismatch` or `Fatal` value.
* Anything that creates commands iterates ordered containers only.

Not here: running workflow code (`perdure.worker`), payload conversion
(`perdure.converter`), RPCs, queues of tasks, and the cache of runs.
"""

from __future__ import annotations
