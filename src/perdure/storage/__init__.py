"""Storage: dumb SQL behind a small port (`port.py`).

What lives here: the port's values and errors, the schema and its migrations, the drivers, the executors that decide on
which thread a statement runs. Invariants: a batch is written wholly or not at all; the store decides nothing but the
fence (range id, commit sequence); bytes come out as they went in. What does not belong: folding, encoding of facts,
retries, caches: those are the server's.
"""

from __future__ import annotations
