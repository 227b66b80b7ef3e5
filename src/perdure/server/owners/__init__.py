"""Ownership of shards and task queues, and the messages between owners: the seam between the nodes of a cluster.

Each shard has one owner. The owner of a task queue is the owner of the shard to which its name belongs. Only the owner
accesses its state in memory (entities, parked pollers, waiting queries and updates). Others send it a message, which
holds only values.

Not here: which nodes exist and how bytes reach them (`Peers`).
"""
