"""The frontends: what each RPC means, above the engine.

Role: one module per family. A handler checks and normalises its request, resolves the namespace, calls the engine,
the matching host or the query registry, and builds the response. `dispatch.Frontend` is the one way in.

Invariants: handlers keep no state; requests are never changed; a response that carries history is built as bytes around
the rows as they are stored (`pages`, `wire.splice`).
Not here: decisions about runs (`perdure.history`), commits and waiting (`perdure.server.engine`), transports.
"""
