"""Queries and updates that wait for a worker. They exist in the node's memory only.

Invariant: losing them loses nothing acknowledged. A query fails and is retried; an update that no worker has accepted
is sent again by its caller.
Not here: accepted updates, which are part of history.
"""
