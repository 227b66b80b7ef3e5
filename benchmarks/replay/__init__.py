"""Programs of `bench_replay.py`: `program.py` replays (its official variant is derived as that of the workloads)."""
