"""The run engine: what happens to a workflow run, decided without any I/O.

A *transition* is a synchronous function `(state, request or wake-up, env) -> Transition`. It writes through a `Draft`,
which folds each event as it is added; nothing else changes state.

    state.py        the values a run is made of, and journaled tables      evolve*.py   events -> state
    facts.py        what never enters history, one typed row each          draft.py     one atomic change
    transition.py   the result: events, facts, tasks, effects, reply plan  env.py       clock, ids, limits as arguments
    one file per family of transitions: start, workflow_task, commands, activity, timer, signal, cancel, query, …

Invariants: state = fold(evolve, events) + fold(apply, facts), at every commit; event ids are contiguous from 1; event
times never go back; a draft that is abandoned leaves no trace. Not here: clocks, sockets, storage, asyncio, retries of
I/O, who waits for what.
"""
