"""Programs of `bench_growth.py`: a history that grows, and a database with many sleeping runs."""
