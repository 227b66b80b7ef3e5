"""Periodic work of a node: retention, sweeps of stale rows, and attempts lost with their process.

Not here: wake-ups of single entities (`shards.wakes`).
"""
