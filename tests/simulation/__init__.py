"""The real node, client and worker on a virtual clock: seeded scheduler, network and disk.

    (loop, disk and network are `perdure.testing.simulation`)
    world.py      one seed's universe: nodes, workers, clients, trace
    settings.py   what a seed draws: cache, sweeps, retention, codec, page sizes
    faults.py     what goes wrong and when; outages.py is the log of what hindered the node
    workloads/    setup, start and check of what users do
    stage.py      a world without faults of its own, for scenarios
    ending.py     what must hold when a world has calmed down; checks.py: of each history
    lateness.py   deadlines, in virtual time
    right_run.py  effects reach the run that was meant
    archive.py    the runs that the retention deleted, as they were
    server_log.py errors of the node that nobody foresaw
    violations.py what a checker says
    attacks/      small worlds, each made to break one guard
    play.py       a seed is a random world, or an attack
    guards.py     guards of the server, as changes of its text (edit.py)
    mutations.py  guards removed one by one, to show that a seed catches each

Invariants: nothing here reads a real clock, real randomness or a socket; the same seed gives the same trace.
"""
