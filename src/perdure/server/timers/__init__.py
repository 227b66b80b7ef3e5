"""What a node does on its own from time to time: retention, sweeps of stale rows, attempts lost with their process.

Not here: wake-ups of single entities (`shards.wakes`).
"""
