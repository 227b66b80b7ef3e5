"""Storage: dumb SQL behind a small port (`port.py`).

Role: the port's values and errors, the schema and its migrations, the drivers, and the executors that decide which
thread runs a statement. Invariants: a batch is written completely or not at all; the only decision of the store is the
fence (range id, commit sequence); bytes are returned unchanged. Not here: folding, encoding of facts, retries and
caches, which belong to the server.
"""

from __future__ import annotations
