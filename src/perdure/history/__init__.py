"""The run engine: what happens to a workflow run, decided without any I/O.

A *transition* is a synchronous function `(state, request or wake-up, env) -> Transition`. It writes through a `Draft`,
which folds each event as it is added; nothing else changes state.

Its rooms, from the lowest up: `state` (values, facts, events into state), `draft` (one atomic change and its result),
`commands`, `workflow_task` and `marker`, `activity`, `message` and `timer`, `run`, `child`. `families` fills the
tables, `loader` folds a stored run, `transitions` is what servers call.

Invariants: state = fold(evolve, events) + fold(apply, facts), at every commit; event ids are contiguous from 1; event
times never go back; a draft that is abandoned leaves no trace. Not here: clocks, sockets, storage, asyncio, retries of
I/O, who waits for what.
"""
