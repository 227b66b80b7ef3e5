"""A node: the wiring of all parts of the server, and the programs that open a node.

Not here: decisions of any kind.
"""
