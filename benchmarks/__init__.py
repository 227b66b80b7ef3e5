"""Measured costs; each `bench_*.py` says what. `run_all.py` is what `make bench` runs.

Nothing is asserted: the numbers belong to the machine that printed them.
"""
