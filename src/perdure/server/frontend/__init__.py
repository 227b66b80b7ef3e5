"""The frontends: the handlers of all RPCs, above the engine.

Role: one module per family of RPCs. A handler validates its request, resolves the namespace, calls the engine,
the matching host or the query registry, and builds the response. `dispatch.Frontend` is the only entry point.

Invariants: handlers keep no state; requests are never changed; a response that carries history is built as bytes around
the rows as they are stored (`pages`, `wire.splice`).
Not here: decisions about runs (`perdure.history`), commits and waiting (`perdure.server.engine`), transports.
"""
