"""Child workflows: the parent's half (`command`) and the child's own (`start`).

Invariant: a child has no workflow task before it is released, so a child whose parent closed too early has done
nothing and can be discarded.
Not here: how the two halves reach each other (the outbox of the server).
"""
