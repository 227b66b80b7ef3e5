"""Interceptors of a worker: the classes that users derive from, and their inputs.

Not here: where the chains are built (`host`, `activity`, `worker`).
"""
