"""The real node, client and worker on a virtual clock: seeded scheduler, network and disk.

    (loop, disk and network are `perdure.testing.simulation`)
    world.py    one seed's universe: nodes, workers, clients, faults, trace
    workloads/  setup, start and check of what users do
    checks.py   what must hold after every run
    mutations.py  guards removed one by one, to show that a seed catches each

Invariants: nothing here reads a real clock, real randomness or a socket; the same seed gives the same trace.
"""
