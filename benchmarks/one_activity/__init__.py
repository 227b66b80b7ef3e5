"""The programs that `bench_one_activity.py` measures, each in a process of its own.

    ours.py       client and worker of Perdure, against an engine in the same process or a server
    official.py   client and worker of the official SDK, against our server
    server.py     our server with a profiler that a signal switches on and off (only for profiles)
    protocol.py   how the bench talks to them, and what a round is
    shares.py     a profile as shares of CPU time per package

Nothing here is asserted; the numbers belong to the machine that printed them.
"""
