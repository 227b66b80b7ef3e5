"""The workloads of `bench_workloads.py` and the program that plays them.

`definitions.py` and `program.py` are written once, on Perdure; the modules of the official SDK have the same names, so
the bench derives its variant by replacing the name of the package in the imports.
"""
