"""Events into state: one function per event type, registered in `evolve`'s table.

Role: one module per family of events. Importing a module registers its functions; `families` imports all of them.
`facts` does the same for facts, in one module.

Invariant: the effect of a released event type never changes, because stored histories are folded again at each load.
Not here: event ids, times and sizes; any decision.
"""
