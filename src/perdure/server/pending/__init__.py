"""Queries and updates that wait for a worker: memory of a node, never stored.

Invariant: losing it loses nothing acknowledged. A query fails and is asked again; an update that no worker has accepted
is admitted again by its caller.
Not here: accepted updates, which are history.
"""
