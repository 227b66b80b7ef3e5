"""The real node, client and worker on a virtual clock: seeded scheduler, network and disk.

    (loop, disk and network are `perdure.testing.simulation`)
    world.py      the world of one seed: nodes, workers, clients, trace
    settings.py   what a seed draws: cache, sweeps, retention, codec, page sizes
    faults.py     what goes wrong and when
    outages.py    a log of the faults that kept the node from working
    workloads/    what users do: they start workflows and check the results
    stage.py      a world without random faults, for scenarios and attacks
    ending.py     what must hold at the end of a world
    checks.py     what must hold of each history
    lateness.py   deadlines in virtual time
    right_run.py  effects reach the run that they were meant for
    archive.py    the runs that the retention deleted, as they were
    server_log.py unexpected errors of the node
    violations.py what a checker raises
    attacks/      small worlds, each made to break one guard
    play.py       turns a seed into a random world or an attack
    guards.py     guards of the server, with the edits that remove them (edit.py)
    mutations.py  removes the guards one by one, to show that the seeds notice each

Invariants: nothing here reads a real clock, draws unseeded random numbers or opens a socket; the same seed gives the
same trace.
"""
