"""One state machine per kind of operation that workflow code starts.

A machine is created by a command, recorded by a command event, and moved by the events that name
it; it answers by queueing jobs for user code and commands for the server.

Invariants: transitions are rows of a table keyed by (state, event type). A row that is missing is
a mismatch while a command is being matched, is ignored once the machine is settled (late events
are the server's right, e.g. an abandoned activity that fails), and otherwise a damaged history.

What is not here: the queue, the registry of machines, flags (`run`).
"""

from __future__ import annotations
