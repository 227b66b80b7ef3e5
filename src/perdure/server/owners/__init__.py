"""Who owns what, and what owners say to each other: the seam between the nodes of a cluster.

Each shard has one owner, and so has each task queue: the owner of the shard to which its name belongs. What an owner
keeps in memory (entities, parked pollers, waiting queries and updates) is touched by nobody else. Others ask it, with a
message that holds values only.

Not here: which nodes exist and how bytes reach them (`Peers`).
"""
