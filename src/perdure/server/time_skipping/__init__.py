"""The test server: a node whose clock skips time while nothing runs.

Role: the rule for when time may be skipped (`skipping`), its RPCs, and the wiring.
Not here: the client's test environment (`perdure.testing`).
"""
