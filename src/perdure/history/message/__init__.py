"""What runs and callers say to a run: signals, updates, queries, cancel requests, and the same for other runs.

Role: one module per kind. `external` is the sender's half of signals and cancel requests between runs.
Not here: start requests that carry a signal or update (`run.signal_with_start`, `run.update_with_start`).
"""
