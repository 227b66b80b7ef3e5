"""The other side of `bench_dbos.py`; runs in a virtual environment of its own, without Perdure."""
