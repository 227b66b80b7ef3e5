"""A simulated environment: a node, workers and clients run for real, on a virtual clock, and are killed on command.

    loop.py     an event loop without selector or threads: time jumps to the next timer; processes that can be killed
    disk.py     the executor of the store: every job takes virtual time, and may be the last one before a crash
    network.py  the seam with delays, losses, repetitions and partitions
    faults.py   what may go wrong with a user's workflow, as values that describe themselves
    world.py    one run of a user's workflow under given faults
    search.py   which faults to try, and the smallest set of them that still fails

Invariants: nothing here reads a real clock, uses real randomness or opens a socket; the same seed and the same faults
give the same run. Not here: the checks of Perdure's own tests, which use the first three modules in harsher worlds.
"""
