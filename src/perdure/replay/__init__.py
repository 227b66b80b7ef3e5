"""The worker's half of durable execution: history in, activations out, commands in, completion out.

What lives here: cutting a history into workflow tasks, the state machines behind commands, the
matching of commands with the events they caused, flags, patches, and nondeterminism as data.

Invariants:

* Sans-I/O. No clock, randomness, thread, socket, asyncio. The caller fetches pages and runs code.
* User and server data never raise: the outcome is a `Mismatch` or `Fatal` value.
* Anything that creates commands iterates ordered containers only.

What does not belong: running workflow code (`perdure.worker`), payload conversion
(`perdure.converter`), RPCs, queues of tasks, and the cache of runs.
"""

from __future__ import annotations
