"""What runs say to each other: values that travel from the source of an effect to its destination, and back.

An effect of the outbox is delivered as one message or two. Each has two pure halves: `apply` changes the destination,
and `settle` records at the source how that went. Both are repeatable, so an interrupted delivery simply starts again.

Invariant: a message and its outcome hold values only (ids and messages of the API): they may cross to another node.
Not here: the way there and the order of deliveries (the outbox of the server).
"""
